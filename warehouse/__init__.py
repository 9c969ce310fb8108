"""Where data lives: the only code that reads or writes the data root."""
