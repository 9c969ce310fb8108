"""The gate between stages: what a table must satisfy, judged before it is published."""
