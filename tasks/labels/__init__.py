"""The ground room: the sentence embedder, the label index and search in it."""
