"""Ask the teacher about every document, and serve the stand-in teacher."""
