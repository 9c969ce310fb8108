"""Tables given to a stage under test, written from a few rows."""

import polars as pl

from schemas.refs import RunRef, TableRef
from schemas.tables import TABLES
from warehouse.parquet import write_table


def put(run: RunRef, name: str, rows: list[dict[str, object]]) -> TableRef:
    """Write rows as a table; columns that are not given are null."""
    table = TABLES[name]
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(dataset=pl.lit("tiny")) if rows else table.empty()
    missing = [pl.lit(None).alias(column) for column in table.columns if column not in frame.columns]
    return write_table(run, "given", table, table.conform(frame.with_columns(missing)))
