"""Raw traces to the five tables: read each row, link all mentions of a batch at once, write rows with spans."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from schemas.errors import InputFormatError
from schemas.tables import CORE_ANSWERS, CORE_REJECTS, CORE_SHORTLIST, CORE_STEPS, CORE_TRACES, Table
from tasks.parsing.completions import Completion, read_completion
from tasks.parsing.drafts import UNLINKED, Link, Mention, RejectDraft, TraceDraft
from tasks.parsing.items import LONGEST_NAME
from tasks.parsing.linking import MentionLinker
from tasks.parsing.names import normalise

BATCH_ROWS = 2048
"""Rows read before their mentions are linked: bounds the drafts held in memory, some 50 KB each."""

MOST_UNKNOWN = 1000
"""Distinct unknown texts of one trace that the costlier rungs try: no shortlist is so long, but a runaway answer is."""

WRITTEN = (CORE_TRACES, CORE_SHORTLIST, CORE_STEPS, CORE_ANSWERS, CORE_REJECTS)
TRUNCATED = ("length", "connection_cut")
RawRow = dict[str, Any]  # a row of `raw_traces` as polars gives it: values of many types


@dataclass(frozen=True)
class ParsedTables:
    """The tables of one parse, by name."""

    frames: dict[str, pl.DataFrame]

    def __getitem__(self, table: str) -> pl.DataFrame:
        return self.frames[table]


@dataclass
class _Rows:
    """Rows of each table, as tuples in column order."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {table.name: [] for table in WRITTEN})

    def add(self, table: Table, *values: Any) -> None:
        self.rows[table.name].append(values)

    def frames(self) -> dict[str, pl.DataFrame]:
        return {t.name: pl.DataFrame(self.rows[t.name], schema=t.schema, orient="row") for t in WRITTEN}


def parse_rows(raw: pl.DataFrame, linker: MentionLinker) -> ParsedTables:
    """Every row of `raw_traces` in exactly one of `core_traces` and `core_rejects`, with the rows that belong to it."""
    batches = [_parse_batch(part, linker) for part in raw.iter_slices(BATCH_ROWS)] or [_Rows().frames()]
    return ParsedTables({t.name: t.conform(pl.concat([batch[t.name] for batch in batches])) for t in WRITTEN})


def trace_id_of(request_hash: str, document_id: str) -> str:
    """The trace's identifier: SHA-256 of request and document, 32 hex digits."""
    return hashlib.sha256((request_hash + document_id).encode()).hexdigest()[:32]


def refuse_many_rejects(raw_count: int, rejects: pl.DataFrame, max_reject_frac: float) -> None:
    """Stop when too many rows could not be used.

    Raises:
        InputFormatError: names the counts by reason and the limit.
    """
    if not raw_count or len(rejects) / raw_count <= max_reject_frac:
        return
    counts = rejects.group_by("reject_reason").len().sort("len", "reject_reason", descending=[True, False])
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.iter_rows())
    raise InputFormatError(
        f"raw_traces: {len(rejects)} of {raw_count} rejected ({len(rejects) / raw_count:.3f} > parse.max_reject_frac "
        f"{max_reject_frac}): {reasons}; e.g. {rejects['detail_text'][0]!r}; mend the prompt or raise the limit"
    )


def _parse_batch(raw: pl.DataFrame, linker: MentionLinker) -> dict[str, pl.DataFrame]:
    read = [(row, read_completion(_completion(row), linker.catalogue)) for row in raw.iter_rows(named=True)]
    drafts = [draft for _, draft in read if isinstance(draft, TraceDraft)]
    links = linker.link(text for draft in drafts for text in _unknown_texts(draft))
    rows = _Rows()
    for row, draft in read:
        if isinstance(draft, RejectDraft):
            key = f"{row['request_hash']}:{row['document_id']}"
            rows.add(CORE_REJECTS, "parse", key, row["dataset"], draft.reason, draft.detail, None)
        else:
            _add_trace(rows, row, draft, links)
    return rows.frames()


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


def _unknown_texts(draft: TraceDraft) -> Iterator[str]:
    """The texts of a trace that the costlier rungs may link."""
    texts = (text for mention in _mentions(draft) if not mention.link for text in mention.tried)
    return islice((text for text in dict.fromkeys(texts) if len(text) <= LONGEST_NAME), MOST_UNKNOWN)


def _resolve(mention: Mention, links: dict[str, Link]) -> tuple[str, Link]:
    """The text that names the label, and its link: the first of its texts that links, else the first."""
    if mention.link is not None:
        return mention.text, mention.link
    text = next((text for text in mention.tried if links.get(text, UNLINKED).label_id is not None), mention.text)
    return text, links.get(text, UNLINKED)


def _distinct(mentions: Sequence[tuple[Mention, int]], links: dict[str, Link]) -> list[tuple[Mention, int, str, Link]]:
    """The first mention of each label, or of each unknown text, in order."""
    first: dict[int | str, tuple[Mention, int, str, Link]] = {}
    for mention, step in mentions:
        text, link = _resolve(mention, links)
        key = (normalise(text) or text) if link.label_id is None else link.label_id
        first.setdefault(key, (mention, step, text, link))
    return list(first.values())


def _add_trace(rows: _Rows, row: RawRow, draft: TraceDraft, links: dict[str, Link]) -> None:
    trace_id = trace_id_of(row["request_hash"], row["document_id"])
    ids = (row["request_hash"], row["dataset"], row["document_id"])
    shortlist = _distinct(draft.shortlist, links)
    answers = _distinct([(mention, -1) for mention in draft.answers], links)
    for rank, (mention, step, text, link) in enumerate(shortlist, 1):
        place = (mention.source, mention.start, mention.end)
        rows.add(CORE_SHORTLIST, trace_id, rank, *ids, text, link.label_id, link.score, link.method, step, *place)
    for rank, (mention, _, text, link) in enumerate(answers, 1):
        place = (mention.source, mention.start, mention.end)
        rows.add(CORE_ANSWERS, trace_id, rank, *ids, text, link.label_id, link.score, link.method, mention.score, *place)
    _add_steps(rows, row, (trace_id, ids), draft, links)
    unlinked = sum(link.label_id is None for *_, link in [*shortlist, *answers])
    rows.add(
        CORE_TRACES, trace_id, *ids, row["split"], row["teacher"], row["prompt_kind"], row["variant"], row["sample_index"],
        draft.answer_format, draft.boundary_step, draft.boundary_evidence_text, len(draft.steps), len(shortlist), len(answers),
        row["finish_reason"] in TRUNCATED, unlinked / max(len(shortlist) + len(answers), 1),
    )  # fmt: skip


def _add_steps(
    rows: _Rows, row: RawRow, key: tuple[str, tuple[str, str, str]], draft: TraceDraft, links: dict[str, Link]
) -> None:
    last = max(len(draft.steps) - 1, 1)
    for at, step in enumerate(draft.steps):
        subject = _resolve(step.subject, links)[1].label_id if step.subject else None
        other = _resolve(step.other, links)[1].label_id if step.other else None
        target, near_miss = (other, subject) if step.verdict == "drop" else (subject, other)
        text = row[step.source][step.start : step.end]
        near_miss = None if near_miss == target else near_miss
        rows.add(
            CORE_STEPS, key[0], at, *key[1], at / last, step.phase, text, step.source, step.start, step.end, target, near_miss,
            step.verdict,
        )  # fmt: skip
