"""Which columns of a file hold text and name, and which rows can be tagged: each is a document, or left out with a reason."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import ConfigError, InputFormatError

Reason = Literal["broken_line", "missing_column", "empty_text", "not_text", "missing_id", "duplicate_document"]

TEXT_COLUMNS = ("document_text", "text")
TITLE_COLUMNS = ("title", "content")
ID_COLUMNS = ("document_id", "uid", "id")

DETAIL_LENGTH = 300
ID_BYTES = 8
"""Bytes of a hash that stand for an id seen before: of a million ids two agree by chance in one file of 37 million."""


@dataclass(frozen=True)
class Columns:
    """Columns whose texts are joined by a newline, and the one that names documents; None: the line number does."""

    text: tuple[str, ...]
    id: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.text, *([self.id] if self.id else []))))


@dataclass(frozen=True)
class Document:
    """A text to be tagged; `line_number` counts from 1."""

    line_number: int
    document_id: str
    text: str


@dataclass(frozen=True)
class Skipped:
    """A row that cannot be tagged, and why."""

    line_number: int
    document_id: str | None
    reject_reason: Reason
    detail_text: str


def choose_columns(names: Sequence[str], text_column: str | None, id_column: str | None, where: str) -> Columns:
    """The columns asked for, or the first of the usual ones that the file has.

    Args:
        names: columns of the file.
        text_column: asked for; None: `document_text`, `text`, or `title` and `content`.
        id_column: asked for; None: `document_id`, `uid`, `id`, or the line number.
        where: the file, for messages.

    Raises:
        ConfigError: the file has no such column.
    """
    there = f"{where} has {', '.join(map(repr, names[:20])) or 'no columns'}"
    for option, wanted in (("--text-column", text_column), ("--id-column", id_column)):
        if wanted is not None and wanted not in names:
            raise ConfigError(f"{option} {wanted!r}: there is no such column; {there}")
    usual = [(name,) for name in TEXT_COLUMNS if name in names]
    parts = tuple(name for name in TITLE_COLUMNS if name in names)
    text = (text_column,) if text_column else (*usual, parts)[0]
    if not text:
        raise ConfigError(f"no column of texts: looked for document_text, text, title and content; {there}; give --text-column")
    return Columns(text, id_column or next((name for name in ID_COLUMNS if name in names), None))


@dataclass
class Sieve:
    """Tells documents from rows that cannot be tagged; remembers 8 bytes of every id, to find repeated ones."""

    columns: Columns
    seen: set[bytes] = field(default_factory=set)

    def check(self, line_number: int, values: Mapping[str, object], problem: str | None = None) -> Document | Skipped:
        """The row as a document, or why it is none.

        Args:
            line_number: from 1.
            values: by column.
            problem: what is wrong with the row as a whole.
        """
        if problem is not None:
            return Skipped(line_number, None, "broken_line", problem[:DETAIL_LENGTH])
        document_id = self._id(line_number, values)
        if document_id is None:
            seen = values.get(str(self.columns.id))
            return Skipped(
                line_number, None, "missing_id", f"{self.columns.id} is {_shown(seen)}: allowed are text and whole numbers"
            )
        found = self._text(values)
        if isinstance(found, str) and _is_encodable(found):
            return self._once(Document(line_number, document_id, found))
        if isinstance(found, str):
            found = ("not_text", "it holds characters that are not UTF-8")
        return Skipped(line_number, document_id, *found)

    def _id(self, line_number: int, values: Mapping[str, object]) -> str | None:
        if self.columns.id is None:
            return str(line_number)
        value = values.get(self.columns.id)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        name = str(value)
        return name if name.strip() and _is_encodable(name) else None

    def _text(self, values: Mapping[str, object]) -> str | tuple[Reason, str]:
        missing = [name for name in self.columns.text if name not in values]
        if len(missing) == len(self.columns.text):
            return "missing_column", f"the row has no {' or '.join(missing)}"
        parts = [values[name] for name in self.columns.text if values.get(name) is not None]
        wrong = [part for part in parts if not isinstance(part, str)]
        if wrong:
            return "not_text", f"expected text, got {type(wrong[0]).__name__}: {_shown(wrong[0])}"
        texts = [str(part) for part in parts]
        text = texts[0] if len(self.columns.text) == 1 and texts else "\n".join(filter(None, (part.strip() for part in texts)))
        return text if text.strip() else ("empty_text", "there is no text, or only white space")

    def _once(self, document: Document) -> Document | Skipped:
        if self.columns.id is None:
            return document
        key = hashlib.blake2b(document.document_id.encode(), digest_size=ID_BYTES).digest()
        if key in self.seen:
            return Skipped(document.line_number, document.document_id, "duplicate_document", "the id was on an earlier line")
        self.seen.add(key)
        return document


@dataclass
class Survey:
    """What a first pass over a file found."""

    document_count: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    first: Skipped | None = None

    @property
    def skipped_count(self) -> int:
        """Rows that cannot be tagged."""
        return sum(self.skipped.values())

    def add(self, row: Document | Skipped) -> None:
        """Count one row."""
        if isinstance(row, Document):
            self.document_count += 1
            return
        self.skipped[row.reject_reason] = self.skipped.get(row.reject_reason, 0) + 1
        self.first = self.first or row

    def refuse_too_many(self, max_reject_frac: float, where: str) -> None:
        """Refuse a file of which too much cannot be tagged, or that holds nothing to tag.

        Raises:
            InputFormatError: the share is above the limit, or there is no document.
        """
        total = self.document_count + self.skipped_count
        if not total:
            raise InputFormatError(f"{where}: holds no row; nothing to tag")
        if self.document_count and self.skipped_count / total <= max_reject_frac:
            return
        first = f"; line {self.first.line_number}: {self.first.detail_text}" if self.first else ""
        raise InputFormatError(
            f"{where}: {self.skipped_count} of {total} rows cannot be tagged ({describe_skipped(self.skipped)}), allowed are "
            f"{max_reject_frac:.0%} (--max-reject-frac){first}"
        )


def describe_skipped(counts: Mapping[str, int]) -> str:
    """Reasons with their counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{reason} {count}" for reason, count in ordered) or "none"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    return repr(value)[:80]
