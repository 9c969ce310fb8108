"""What data looks like: columns, tables, settings, references and errors; imports nothing of ours."""
