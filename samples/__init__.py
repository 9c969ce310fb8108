"""The data shipped with the project, and how its knowledge file is made."""
