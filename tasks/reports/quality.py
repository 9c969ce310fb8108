"""How good the traces are and what the run cost: counts by format, rejects, phase boundaries, money."""

from collections.abc import Sequence

import polars as pl

from schemas.fields import TOKEN_COLUMNS
from tasks.reports.cells import UNKNOWN, Cell, Grid, clip_text, count_text, money_text, percent_text, seconds_text
from tasks.reports.charts import BarChart, bar_chart

BOUNDARY_BINS = 10
DETAIL_LENGTH = 160
NONE_SENT = "none"


def format_grid(traces: pl.DataFrame) -> Grid:
    """Usable traces by answer format, with their shares of cut-off answers, unknown labels and missing boundaries."""
    shares = [
        pl.len().alias("trace_count"),
        pl.col("is_truncated").mean().alias("truncated"),
        pl.col("out_of_catalogue_frac").mean().alias("out_of_catalogue"),
        pl.col("boundary_step").is_null().mean().alias("without_boundary"),
        pl.col("step_count").mean().alias("steps"),
        pl.col("shortlist_count").mean().alias("candidates"),
        pl.col("answer_count").mean().alias("answers"),
    ]
    by_format = traces.group_by("answer_format").agg(shares).sort("answer_format")
    whole = traces.select(pl.lit("all formats").alias("answer_format"), *shares) if len(traces) else by_format.clear()
    rows = tuple(
        (
            Cell(name),
            Cell(f"{n:,}"),
            *(Cell(percent_text(share)) for share in row[:3]),
            *(Cell(f"{mean:.1f}") for mean in row[3:]),
        )
        for name, n, *row in pl.concat([by_format, whole]).iter_rows()
    )
    columns = (
        "answer format",
        "traces",
        "cut off, %",
        "not in catalogue, %",
        "no refinement, %",
        "steps",
        "candidates",
        "answers",
    )
    return Grid("formats", "Usable traces by answer format; the last three columns are means a trace", columns, rows)


def reject_grid(rejects: Sequence[pl.DataFrame]) -> Grid:
    """What could not be used, by stage and reason, with one example."""
    grouped = (
        pl.concat(rejects)
        .sort("source_key")
        .group_by("stage", "reject_reason")
        .agg(pl.len().alias("count"), pl.col("detail_text").first())
        .sort("stage", "count", "reject_reason", descending=[False, True, False])
    )
    rows = tuple(
        (Cell(reason), Cell(stage), Cell(f"{count:,}"), Cell(clip_text(detail, DETAIL_LENGTH)))
        for stage, reason, count, detail in grouped.iter_rows()
    )
    return Grid("rejects", "What could not be used, and why", ("reason", "stage", "rows", "an example"), rows, left=(1, 3))


def boundary_chart(traces: pl.DataFrame) -> BarChart:
    """Where refinement begins: traces by t* over the number of steps, in tenths; traces without t* are their own bar."""
    has_steps = traces.filter(pl.col("step_count") > 0)
    relative = has_steps.select((pl.col("boundary_step") / pl.col("step_count")).alias("t"))["t"]
    bins = (relative.drop_nulls() * BOUNDARY_BINS + 1e-9).floor().clip(0, BOUNDARY_BINS - 1).cast(pl.Int32)
    counts = dict(bins.value_counts().iter_rows())
    labels = [(f"{i / BOUNDARY_BINS:.1f}", int(counts.get(i, 0))) for i in range(BOUNDARY_BINS)]
    labels.append(("none", int(traces["boundary_step"].null_count())))
    return bar_chart("boundary", "Where refinement begins", "t* / steps, from", labels)


def cost_grid(costs: pl.DataFrame) -> Grid:
    """Each stage's time, requests, tokens and money, and their sum; what is unknown makes the sum unknown."""
    ordered = costs.select(
        "stage", "is_reused", "duration_s", "request_count", "prompt_tokens", "completion_tokens", "cost_usd",
        "rows_in_count", "rows_out_count", "rejected_count",
    )  # fmt: skip
    rows = [_cost_row(str(stage), bool(reused), *row) for stage, reused, *row in ordered.iter_rows()]
    asked = costs.filter(pl.col("request_count") > 0)
    tokens_in, tokens_out, usd = (_known_sum(asked, c) for c in ("prompt_tokens", "completion_tokens", "cost_usd"))
    requests = int(costs["request_count"].sum())
    total = _cost_row("all stages", False, float(costs["duration_s"].sum()), requests, tokens_in, tokens_out, usd)
    columns = ("stage", "time", "requests", "tokens in", "tokens out", "money", "rows in", "rows out", "rejected")
    caption = "What each stage used; none: it sends no requests; a price that was not given is unknown, not zero"
    return Grid("costs", caption, columns, (*rows, (*total, Cell(""), Cell(""), Cell(""))))


def teacher_grid(costs: pl.DataFrame) -> Grid | None:
    """Requests, tokens by kind and money of the teacher: of this run, and of all runs behind the stage's rows."""
    asked = costs.filter(pl.col("total_request_count").fill_null(0) > 0)
    if asked.is_empty():
        return None
    row = asked.row(0, named=True)
    this = [_tokens(row[kind]) if row["request_count"] else NONE_SENT for kind in TOKEN_COLUMNS]
    every = [_tokens(row[f"total_{kind}"]) for kind in TOKEN_COLUMNS]
    spent = money_text(row["cost_usd"]) if row["request_count"] else NONE_SENT
    rows = (
        ("this run", f"{row['request_count']:,}", *this, spent),
        ("all runs together", f"{row['total_request_count']:,}", *every, money_text(row["total_cost_usd"])),
    )
    columns = ("", "requests", "tokens in", "of them cached", "tokens out", "reasoning", "answer", "money")
    caption = "What the teacher was asked for and what it cost; answers of earlier runs are not asked again"
    return Grid("teacher-costs", caption, columns, tuple(tuple(Cell(text) for text in row) for row in rows))


def _known_sum(frame: pl.DataFrame, column: str) -> float | None:
    return None if frame[column].null_count() else float(frame[column].sum())


def _cost_row(
    stage: str,
    is_reused: bool,
    duration_s: float,
    requests: int,
    tokens_in: float | None,
    tokens_out: float | None,
    usd: float | None,
    *rows: int | None,
) -> tuple[Cell, ...]:
    has_asked = requests > 0 or bool(usd)
    asked = (_tokens(tokens_in), _tokens(tokens_out), money_text(usd)) if has_asked else (NONE_SENT,) * 3
    texts = (seconds_text(duration_s), f"{requests:,}", *asked, *(count_text(n) for n in rows))
    return (Cell(stage, "reused: an earlier result" if is_reused else ""), *(Cell(text) for text in texts))


def _tokens(count: float | None) -> str:
    return UNKNOWN if count is None else f"{count:,.0f}"
