"""Ways to word a thought as free reasoning with its truth known, to measure what the parser makes of it."""
