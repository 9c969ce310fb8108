"""Ask the teacher; the stand-in teacher."""
