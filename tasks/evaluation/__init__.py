"""Metrics, intervals and paired contrasts of every system."""
