"""Rows of the five tables from rows of `raw_traces`: first each is read, then what the names do not link is linked.

Reading needs the catalogue alone, so it can be done by many processes. What a trace becomes depends on that trace alone.
"""

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from schemas.tables import CORE_ANSWERS, CORE_REJECTS, CORE_SHORTLIST, CORE_STEPS, CORE_TRACES, Table
from tasks.parsing.completions import Completion, read_completion
from tasks.parsing.drafts import UNLINKED, Link, Mention, RejectDraft, TraceDraft
from tasks.parsing.items import LONGEST_NAME
from tasks.parsing.names import Catalogue, normalise

MOST_UNKNOWN = 1000
"""Distinct unknown texts of one trace that the costlier rungs try: no shortlist is so long, but a runaway answer is."""

WRITTEN = (CORE_TRACES, CORE_SHORTLIST, CORE_STEPS, CORE_ANSWERS, CORE_REJECTS)
TRUNCATED = ("length", "connection_cut")
READ_COLUMNS = (
    "request_hash", "dataset", "document_id", "split", "teacher", "prompt_kind", "variant", "sample_index", "completion_text",
    "reasoning_text", "finish_reason", "error_kind", "error_text",
)  # fmt: skip
"""The columns of `raw_traces` that parsing needs."""

PLACE = "place"
"""Column of a frame in the making: the place in its part of the raw row it comes from."""

IDS = ("trace_id", "request_hash", "dataset", "document_id")
"""Columns that all rows of a trace share: kept once a trace until a part is linked, for they are a third of its bytes."""

RawRow = dict[str, Any]  # a row of `raw_traces` as polars gives it: values of many types
Frames = Mapping[str, pl.DataFrame]
"""The rows of some raw traces, by table."""


class Unlinked:
    """A trace that names what the catalogue does not know: its place in its part, and the `texts` that may yet be linked.

    Sent to another process its row and draft stay packed until they are asked for: most such texts are no label's.
    """

    def __init__(self, place: int, texts: tuple[str, ...], read: tuple[RawRow, TraceDraft] | bytes) -> None:
        """Take the row and its draft, or both packed."""
        self.place = place
        self.texts = texts
        self._read = read

    def __reduce__(self) -> tuple[type["Unlinked"], tuple[int, tuple[str, ...], bytes]]:
        return Unlinked, (self.place, self.texts, pickle.dumps(self.read(), pickle.HIGHEST_PROTOCOL))

    def read(self) -> tuple[RawRow, TraceDraft]:
        """The row and its draft."""
        read: tuple[RawRow, TraceDraft] = pickle.loads(self._read) if isinstance(self._read, bytes) else self._read
        return read


@dataclass(frozen=True)
class ReadPart:
    """A part of `raw_traces` as read.

    Attributes:
        ids: `IDS` of every row of the part.
        frames: the tables with `PLACE` for `IDS`, those of the unlinked traces as if no more of their texts linked.
        unlinked: traces with texts that may yet be linked.
    """

    ids: pl.DataFrame
    frames: Frames
    unlinked: Sequence[Unlinked]


@dataclass
class _Rows:
    """Rows of each table, as tuples in column order without `IDS`, with the place at the end."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {table.name: [] for table in WRITTEN})
    place: int = 0

    def add(self, table: Table, *values: Any) -> None:
        self.rows[table.name].append((*values, self.place))

    def frames(self) -> dict[str, pl.DataFrame]:
        return {table.name: _frame(table, self.rows[table.name]) for table in WRITTEN}


def _has_ids(table: Table) -> bool:
    return IDS[0] in table.columns


def _frame(table: Table, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in table.schema.items() if not _has_ids(table) or name not in IDS} | {
        PLACE: pl.UInt32()
    }
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in zip(schema.items(), columns, strict=True)])


def read_part(raw: pl.DataFrame, catalogue: Catalogue) -> ReadPart:
    """Read some rows of `raw_traces` (`READ_COLUMNS`)."""
    rows, unlinked = _Rows(), []
    for place, row in enumerate(raw.iter_rows(named=True)):
        draft = read_completion(_completion(row), catalogue)
        rows.place = place
        if isinstance(draft, RejectDraft):
            key = f"{row['request_hash']}:{row['document_id']}"
            rows.add(CORE_REJECTS, "parse", key, row["dataset"], draft.reason, draft.detail, None)
            continue
        _add_trace(rows, row, draft, {})
        if texts := tuple(unknown_texts(draft)):
            unlinked.append(Unlinked(place, texts, (row, draft)))
    return ReadPart(_ids(raw), rows.frames(), unlinked)


def _ids(raw: pl.DataFrame) -> pl.DataFrame:
    trace_ids = [trace_id_of(*key) for key in raw.select("request_hash", "document_id").iter_rows()]
    return raw.select(pl.Series(IDS[0], trace_ids, pl.String()), *IDS[1:])


def linked_frames(part: ReadPart, links: Mapping[str, Link]) -> dict[str, pl.DataFrame]:
    """The five tables of a part in the order of its rows.

    Args:
        part: as read.
        links: one for every text of its unlinked traces.
    """
    rows, places = _Rows(), []
    for one in part.unlinked:
        found = {text: links[text] for text in one.texts if links[text] != UNLINKED}
        if found:
            rows.place = one.place
            places.append(one.place)
            _add_trace(rows, *one.read(), found)
    frames = _replaced(part.frames, places, rows.frames()) if places else part.frames
    return {table.name: _with_ids(table, frames[table.name], part.ids) for table in WRITTEN}


def _with_ids(table: Table, frame: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    own = frame.drop(PLACE)
    return own.hstack(ids[frame[PLACE]].get_columns()).select(table.columns) if _has_ids(table) else own


def _replaced(frames: Frames, places: Sequence[int], late: Frames) -> Frames:
    """The frames with other rows of the traces at these places, in order."""
    kept = {name: frame.filter(~pl.col(PLACE).is_in(places)) for name, frame in frames.items()}
    return {name: pl.concat([frame, late[name]]).sort(PLACE, maintain_order=True) for name, frame in kept.items()}


def unknown_texts(draft: TraceDraft) -> Iterator[str]:
    """The texts of a trace that the costlier rungs may link."""
    texts = (text for mention in _mentions(draft) if not mention.link for text in mention.tried)
    return islice((text for text in dict.fromkeys(texts) if len(text) <= LONGEST_NAME), MOST_UNKNOWN)


def trace_id_of(request_hash: str, document_id: str) -> str:
    """The trace's identifier: SHA-256 of request and document, 32 hex digits."""
    return hashlib.sha256((request_hash + document_id).encode()).hexdigest()[:32]


def _completion(row: RawRow) -> Completion:
    return Completion(
        row["completion_text"] or "",
        row["reasoning_text"] or "",
        row["finish_reason"],
        row["error_kind"],
        row["error_text"],
        row["prompt_kind"] == "candidates",
        row["variant"],
    )


def _mentions(draft: TraceDraft) -> Iterator[Mention]:
    yield from (mention for mention, _ in draft.shortlist)
    yield from draft.answers
    for step in draft.steps:
        yield from (mention for mention in (step.subject, step.other) if mention)


def _resolve(mention: Mention, links: Mapping[str, Link]) -> tuple[str, Link]:
    """The text that names the label, and its link: the first of its texts that links, else the first."""
    if mention.link is not None:
        return mention.text, mention.link
    text = next((text for text in mention.tried if links.get(text, UNLINKED).label_id is not None), mention.text)
    return text, links.get(text, UNLINKED)


def _distinct(mentions: Sequence[tuple[Mention, int]], links: Mapping[str, Link]) -> list[tuple[Mention, int, str, Link]]:
    """The first mention of each label, or of each unknown text, in order."""
    first: dict[int | str, tuple[Mention, int, str, Link]] = {}
    for mention, step in mentions:
        text, link = _resolve(mention, links)
        key = (normalise(text) or text) if link.label_id is None else link.label_id
        if key not in first:
            narrow = _narrowed(mention, text)
            first[key] = (narrow, step, narrow.text, link)
    return list(first.values())


def _narrowed(mention: Mention, text: str) -> Mention:
    """The mention with the span of that of its texts which linked; one that lies outside it changes nothing."""
    at = -1 if text == mention.text else mention.text.find(text)
    return mention if at < 0 else mention._replace(text=text, start=mention.start + at, end=mention.start + at + len(text))


def _add_trace(rows: _Rows, row: RawRow, draft: TraceDraft, links: Mapping[str, Link]) -> None:
    shortlist = _distinct(draft.shortlist, links)
    answers = _distinct([(mention, -1) for mention in draft.answers], links)
    for rank, (mention, step, text, link) in enumerate(shortlist, 1):
        place = (mention.source, mention.start, mention.end)
        rows.add(CORE_SHORTLIST, rank, text, link.label_id, link.score, link.method, step, *place)
    for rank, (mention, _, text, link) in enumerate(answers, 1):
        place = (mention.source, mention.start, mention.end)
        rows.add(CORE_ANSWERS, rank, text, link.label_id, link.score, link.method, mention.score, *place)
    _add_steps(rows, row, draft, links)
    unlinked = sum(link.label_id is None for *_, link in [*shortlist, *answers])
    rows.add(
        CORE_TRACES, row["split"], row["teacher"], row["prompt_kind"], row["variant"], row["sample_index"],
        draft.answer_format, draft.boundary_step, draft.boundary_evidence_text, len(draft.steps), len(shortlist), len(answers),
        row["finish_reason"] in TRUNCATED, unlinked / max(len(shortlist) + len(answers), 1),
    )  # fmt: skip


def _add_steps(rows: _Rows, row: RawRow, draft: TraceDraft, links: Mapping[str, Link]) -> None:
    last = max(len(draft.steps) - 1, 1)
    made = rows.rows[CORE_STEPS.name]
    for at, step in enumerate(draft.steps):
        subject = _label_of(step.subject, links) if step.subject else None
        other = _label_of(step.other, links) if step.other else None
        target, near_miss = (other, subject) if step.verdict == "drop" else (subject, other)
        made.append((
            at, at / last, step.phase, row[step.source][step.start : step.end], step.source, step.start, step.end, target,
            None if near_miss == target else near_miss, step.verdict, rows.place,
        ))  # fmt: skip


def _label_of(mention: Mention, links: Mapping[str, Link]) -> int | None:
    link = mention.link
    return _resolve(mention, links)[1].label_id if link is None else link.label_id
