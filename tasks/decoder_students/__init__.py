"""Decoder students, which write the trace: the computation of the teacher's heads imitated phase by phase."""
