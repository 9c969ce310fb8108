"""Traces as sequences a decoder reads: annotated text, compact text, tokens with the places that matter."""
