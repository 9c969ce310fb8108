"""One room per stage: pure modules named by content, and one `task.py` of Prefect glue."""
