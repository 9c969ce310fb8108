"""The two phases in the text: Focus, Confusion, shortlist recall by position."""
