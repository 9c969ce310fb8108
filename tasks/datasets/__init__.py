"""Read a dataset's files into documents, labels and relevance."""
