"""What must hold of any row of `raw_traces`, whatever its text: one row or one reject, and spans that quote it."""

import json
from contextlib import suppress

import numpy as np
import polars as pl

from tasks.labels.search import LabelIndex
from tasks.parsing.json_scanner import SURROGATE
from tasks.parsing.linking import MentionLinker, NearestLabels, Thresholds
from tasks.parsing.names import Catalogue
from tasks.parsing.tables import ParsedTables, parse_rows
from tests.unit.parsing.nasty import nasty_catalogue
from tests.unit.parsing.test_tables import assert_every_row_once, raw_rows

Row = tuple[str, str | None, dict[str, str]]
"""Completion, reasoning, and other columns of `raw_traces`."""

NASTY = nasty_catalogue()
SPANNED = {"core_steps": "step_text", "core_shortlist": "mention_text", "core_answers": "mention_text"}


def name_linker(catalogue: Catalogue) -> MentionLinker:
    """Every rung but the last."""
    nowhere = NearestLabels(
        lambda texts: np.zeros((len(texts), 1), np.float32), LabelIndex(np.zeros(1, np.int32), np.ones((1, 1), np.float32))
    )
    return MentionLinker(catalogue, nowhere, Thresholds(0.9, 0.8, 0.05))


def parse_texts(*texts: Row, catalogue: Catalogue = NASTY) -> tuple[pl.DataFrame, ParsedTables]:
    """Rows of these completion and reasoning texts, and other columns, parsed with nasty labels or others."""
    raw = raw_rows(*({"completion_text": content, "reasoning_text": reasoning, **more} for content, reasoning, more in texts))
    return raw, parse_rows(raw, name_linker(catalogue))


def assert_rows_sound(raw: pl.DataFrame, tables: ParsedTables) -> None:
    """Each row in one table once; every span quotes its column."""
    assert_every_row_once(raw, tables)
    texts = {row["request_hash"]: row for row in raw.iter_rows(named=True)}
    for name, column in SPANNED.items():
        for row in tables[name].iter_rows(named=True):
            quoted = (texts[row["request_hash"]][row["span_source"]] or "")[row["char_start"] : row["char_end"]]
            assert row[column] in said_by(quoted), (name, row[column], quoted)


def said_by(quoted: str) -> set[str]:
    """A quotation as it stands, as the JSON string it is inside, and as the whole number it writes."""
    said = {quoted}
    with suppress(ValueError):
        said.add(SURROGATE.sub("\ufffd", json.loads(f'"{quoted}"', strict=False)))
    with suppress(ValueError, OverflowError):
        said.add(str(int(float(quoted))))
    return said
