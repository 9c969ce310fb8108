"""The stand-in teacher: what it knows, how it thinks and words its answers, the server around it, its faults."""
