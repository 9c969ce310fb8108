"""Teacher text to tables: shortlists, steps, answers; mentions linked to labels."""
