"""Pages for people: the report and the data-quality pages."""
