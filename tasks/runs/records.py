"""Publications as rows: costs by stage, and the list of newest tables."""

from collections.abc import Sequence

import polars as pl

from schemas.refs import StageOutput
from schemas.tables import OUT_COSTS

PUBLISHED_SCHEMA = {
    "dataset": pl.String,
    "stage": pl.String,
    "table": pl.String,
    "run_id": pl.String,
    "path": pl.String,
    "content_hash": pl.String,
    "row_count": pl.Int64,
    "published_at": pl.String,
}


def cost_rows(run_id: str, outputs: Sequence[StageOutput]) -> pl.DataFrame:
    """`out_costs` of a run; a reused stage cost this run nothing and says so."""
    rows = [
        {
            "run_id": run_id,
            "dataset": output.dataset,
            "stage": output.stage,
            "is_reused": output.is_reused,
            "request_count": 0 if output.is_reused else output.cost.request_count,
            "prompt_tokens": 0 if output.is_reused else output.cost.prompt_tokens,
            "completion_tokens": 0 if output.is_reused else output.cost.completion_tokens,
            "cost_usd": 0.0 if output.is_reused or not output.cost.request_count else output.cost.cost_usd,
            "duration_s": 0.0 if output.is_reused else output.duration_s,
            "rows_in_count": output.cost.rows_in_count,
            "rows_out_count": sum(ref.row_count for ref in output.tables),
            "rejected_count": output.cost.rejected_count,
        }
        for output in outputs
    ]
    return OUT_COSTS.conform(pl.DataFrame(rows, schema=OUT_COSTS.schema))


def published_rows(outputs: Sequence[StageOutput]) -> pl.DataFrame:
    """The newest publications, a row a table."""
    rows = [
        {
            "dataset": output.dataset,
            "stage": output.stage,
            "table": ref.table,
            "run_id": ref.run_id,
            "path": ref.path,
            "content_hash": ref.content_hash,
            "row_count": ref.row_count,
            "published_at": output.published_at,
        }
        for output in outputs
        for ref in output.tables
    ]
    return pl.DataFrame(rows, schema=PUBLISHED_SCHEMA)
