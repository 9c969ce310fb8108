"""Tagging: a file of texts in, a file of labels with probabilities out, by a trained student."""
