"""A sample of traces, as written: each step with its phase and verdict, each label with what it was linked to."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.fields import SPAN_SOURCES
from tasks.reports.cells import Cell, Grid, clip_text, decimal_text

MAX_BLOCK_CHARS = 4_000
MAX_DOCUMENT_CHARS = 3_000
MAX_NAME_CHARS = 48
NOT_LINKED = "not in the catalogue"


@dataclass(frozen=True)
class TraceFrames:
    """The rows of the sampled traces, in every table the page shows of them."""

    traces: pl.DataFrame
    raw: pl.DataFrame
    steps: pl.DataFrame
    shortlist: pl.DataFrame
    answers: pl.DataFrame
    documents: pl.DataFrame
    labels: pl.DataFrame
    relevance: pl.DataFrame


@dataclass(frozen=True)
class Block:
    """A stretch of the text: a step with its phase, or what stands between steps (`phase` is empty)."""

    text: str
    phase: str = ""
    step: int = -1
    verdict: str = ""
    target: str = ""
    near_miss: str = ""


@dataclass(frozen=True)
class Part:
    """One column of the raw answer, cut into blocks."""

    source: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class TraceView:
    """One trace, ready for the page."""

    slug: str
    trace_id: str
    document_id: str
    title: str
    document_text: str
    split: str
    answer_format: str
    boundary: str
    is_truncated: bool
    parts: tuple[Part, ...]
    shortlist: Grid
    answers: Grid
    missed: tuple[str, ...]


def sample_traces(traces: pl.DataFrame, count: int) -> pl.DataFrame:
    """`count` traces, the same ones every time: in turn from each split and answer format, by trace id (a hash)."""
    turn = pl.col("trace_id").rank("ordinal").over("split", "answer_format").alias("turn")
    ordered = traces.with_columns(turn).sort("turn", "split", "answer_format", descending=[False, True, False])
    return ordered.head(count).drop("turn")


def trace_views(frames: TraceFrames) -> tuple[TraceView, ...]:
    """The sampled traces in the order given, each with its text, links and known targets."""
    names = dict(frames.labels.select("label_id", "label_name").iter_rows())
    return tuple(_trace_view(frames, row, names) for row in frames.traces.iter_rows(named=True))


def _trace_view(frames: TraceFrames, trace: Mapping[str, object], names: Mapping[int, str]) -> TraceView:
    trace_id, document_id = str(trace["trace_id"]), str(trace["document_id"])
    is_trace, is_document = pl.col("trace_id") == trace_id, pl.col("document_id") == document_id
    raw = frames.raw.filter((pl.col("request_hash") == trace["request_hash"]) & is_document)
    document = frames.documents.filter(is_document)
    pairs = frames.relevance.filter(is_document & ~pl.col("is_filtered") & (pl.col("relevance") > 0))
    targets = pairs["label_id"].sort().to_list()
    answers, shortlist = (f.filter(is_trace).sort("rank") for f in (frames.answers, frames.shortlist))
    answered = set(answers["label_id"].drop_nulls())
    steps = frames.steps.filter(is_trace).sort("char_start")
    return TraceView(
        slug=f"trace-{trace_id[:12]}",
        trace_id=trace_id,
        document_id=document_id,
        title=_first(document, "title_text"),
        document_text=clip_text(_first(document, "document_text"), MAX_DOCUMENT_CHARS),
        split=str(trace["split"]),
        answer_format=str(trace["answer_format"]),
        boundary=_boundary_text(trace),
        is_truncated=bool(trace["is_truncated"]),
        parts=tuple(part for source in SPAN_SOURCES if (part := _part(raw, steps, source, names))),
        shortlist=_link_grid(shortlist, f"shortlist-{trace_id[:12]}", f"Shortlist of {document_id}", names, targets),
        answers=_link_grid(answers, f"answers-{trace_id[:12]}", f"Final labels of {document_id}", names, targets),
        missed=tuple(names.get(t, str(t)) for t in targets if t not in answered),
    )


def _first(frame: pl.DataFrame, column: str) -> str:
    return str(frame[column][0]) if len(frame) and frame[column][0] is not None else ""


def _boundary_text(trace: Mapping[str, object]) -> str:
    if trace["boundary_step"] is None:
        return "No step refines: the trace has no phase boundary."
    evidence = trace["boundary_evidence_text"]
    return f"Refinement begins at step {trace['boundary_step']} of {trace['step_count']} (steps count from 0): {evidence}."


def _part(raw: pl.DataFrame, steps: pl.DataFrame, source: str, names: Mapping[int, str]) -> Part | None:
    text = _first(raw, source)
    own = steps.filter(pl.col("span_source") == source)
    return Part(source, cut_text(text, own, names)) if text.strip() else None


def cut_text(text: str, steps: pl.DataFrame, names: Mapping[int, str]) -> tuple[Block, ...]:
    """The text as blocks, in order: steps at their spans, and what stands between them if it has a letter or digit.

    Args:
        text: one column of the raw answer.
        steps: rows of `core_steps` of this text, by `char_start`; where two overlap, the first keeps the stretch.
        names: label names by label number.
    """
    blocks, done = [], 0
    columns = ("step", "phase", "verdict", "char_start", "char_end", "target_label_id", "near_miss_label_id")
    for step, phase, verdict, start, end, target, near_miss in steps.select(columns).iter_rows():
        first, last = max(start, done), min(end, len(text))
        if first >= last:
            continue
        blocks.append(Block(text[done:first]))
        named = [_short_name(label, names) for label in (target, near_miss)]
        blocks.append(Block(text[first:last], phase, step, verdict, *named))
        done = last
    blocks.append(Block(text[done:]))
    return tuple(_clipped(block) for block in blocks if block.phase or any(char.isalnum() for char in block.text))


def _short_name(label: int | None, names: Mapping[int, str]) -> str:
    name = "" if label is None else names.get(label, str(label))
    return name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS].rstrip()}…"


def _clipped(block: Block) -> Block:
    text = clip_text(block.text.strip("\n"), MAX_BLOCK_CHARS)
    return Block(text, block.phase, block.step, block.verdict, block.target, block.near_miss)


def _link_grid(rows: pl.DataFrame, slug: str, caption: str, names: Mapping[int, str], targets: list[int]) -> Grid:
    columns = ("rank", "as written", "linked to", "how", "known target")
    cells = tuple(
        (
            Cell(str(rank)),
            Cell(mention),
            Cell(NOT_LINKED if label is None else names.get(label, str(label))),
            Cell(_link_text(method, score)),
            Cell("yes" if label in targets else "no"),
        )
        for rank, mention, label, method, score in rows.select(
            "rank", "mention_text", "label_id", "link_method", "link_score"
        ).iter_rows()
    )
    return Grid(slug, caption, columns, cells, left=(1, 2, 3, 4))


def _link_text(method: str, score: float | None) -> str:
    return method if score is None or method in ("id", "exact") else f"{method}, {decimal_text(score, 2)}"
