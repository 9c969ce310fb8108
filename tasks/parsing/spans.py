"""Which characters of a stretch of text are taken: keeps work linear in the length of a line, however many names it has."""

from collections.abc import Iterable


class Taken:
    """Marked characters of one stretch of text."""

    def __init__(self, start: int, end: int, spans: Iterable[tuple[int, int]] = ()) -> None:
        """Begin with these spans marked; all spans lie in the stretch."""
        self._start = start
        self._marks = bytearray(max(end - start, 0))
        for span in spans:
            self.add(*span)

    def add(self, start: int, end: int) -> None:
        """Mark a span."""
        self._marks[start - self._start : end - self._start] = b"\x01" * (end - start)

    def touches(self, start: int, end: int) -> bool:
        """True if a character of the span is marked."""
        return 1 in self._marks[start - self._start : end - self._start]

    def covers(self, start: int, end: int) -> bool:
        """True if the span lies in the stretch and every character of it is marked."""
        marks = self._marks[start - self._start : end - self._start]
        return len(marks) == end - start and 0 not in marks
