"""Which rows of a table stages agree to use."""

import polars as pl


def whole_traces(traces: pl.DataFrame) -> pl.DataFrame:
    """The traces (`core_traces`) that were asked for both phases, the first sample of each: those that later stages use."""
    return traces.filter((pl.col("variant") == "both") & (pl.col("sample_index") == 0))


def of_whole_traces(part: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    """The rows that belong to whole traces, in their order.

    Args:
        part: rows with a `trace_id`: of `core_traces`, `core_answers`, `core_shortlist` or `core_steps`.
        traces: `core_traces`.
    """
    return part.join(whole_traces(traces), on="trace_id", how="semi", maintain_order="left")
