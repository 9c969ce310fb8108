"""Attention heads of a decoder: scores of the two phases, and causal tests by patching, with controls."""
