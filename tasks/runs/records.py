"""Publications as rows: costs by stage, and the list of newest tables."""

from collections.abc import Sequence

import polars as pl

from schemas.fields import TOKEN_COLUMNS
from schemas.refs import StageCost, StageOutput
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


SPENT = ("request_count", *TOKEN_COLUMNS)
TOTALS = ("total_request_count", *(f"total_{name}" for name in TOKEN_COLUMNS), "total_cost_usd")


def _spent(cost: StageCost, is_reused: bool) -> dict[str, float | None]:
    """What this run itself used; a reused stage and one that asked nobody used nothing."""
    if is_reused:
        return dict.fromkeys((*SPENT, "cost_usd"), 0)
    return cost.model_dump(include=set(SPENT)) | {"cost_usd": cost.cost_usd if cost.request_count else 0.0}


def cost_rows(run_id: str, outputs: Sequence[StageOutput]) -> pl.DataFrame:
    """`out_costs` of a run; a reused stage cost this run nothing and says so."""
    rows = [
        {
            "run_id": run_id,
            "dataset": output.dataset,
            "stage": output.stage,
            "is_reused": output.is_reused,
            **_spent(output.cost, output.is_reused),
            **output.cost.model_dump(include=set(TOTALS)),
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
