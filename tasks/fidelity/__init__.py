"""How decoder students reason: what they write, how near it is to the teacher, and whether it tells their answers."""
