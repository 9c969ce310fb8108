"""A small decoder trained from scratch on the traces: the offline stand-in for an open-weights teacher."""
