"""The gate on the tables of heads, near misses and verdicts: good ones pass; spoilt in one way, they are stopped or warned of."""

import logging
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import CheckFailedError
from schemas.refs import RunRef
from schemas.tables import TABLES
from tasks.checks.task import check_tables
from tests.support.runs import tiny_run
from tests.unit.reports import report_frames as toy
from warehouse.layout import checks_path
from warehouse.parquet import write_table

KNOWN = {"core_documents": toy.DOCUMENTS, "core_labels": toy.LABELS}
IS_KNOWN = pl.col("document_id").is_in(["d0", "d1"])
DOCUMENT_SCORES = toy.HEAD_SCORES.with_columns(document_id=pl.lit("d1"))
NEAR_MISSES: list[dict[str, object]] = [
    {"document_id": "d1", "rank": rank, "label_id": rank, "score": 0.9 - rank / 10} for rank in (1, 2)
]
GOOD = {
    "core_near_misses": toy.table("core_near_misses", NEAR_MISSES),
    "core_head_document_scores": DOCUMENT_SCORES.select(TABLES["core_head_document_scores"].columns),
    "core_head_scores": toy.HEAD_SCORES,
    "core_head_profiles": toy.HEAD_PROFILES,
    "core_patch_effects": toy.PATCH_EFFECTS,
    "core_attention_insets": toy.ATTENTION_INSETS,
    "core_trajectories": toy.HEAD_TRAJECTORIES.filter(IS_KNOWN),
    "out_verdicts": toy.HEAD_VERDICTS,
}


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return tiny_run(tmp_path, dataset="toy")


def check(run: RunRef, frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Check the tables beside documents and labels; what was found."""
    refs = tuple(write_table(run, "heads", TABLES[name], frame) for name, frame in frames.items())
    known = tuple(write_table(run, "ingest", TABLES[name], frame) for name, frame in KNOWN.items())
    check_tables.fn(run, "heads", refs, known)
    return pl.read_parquet(checks_path(run.root_path, run.run_id, "heads"))


def first(name: str, column: str, value: object) -> dict[str, pl.DataFrame]:
    """A good table whose first row has another value in one column."""
    is_first = pl.int_range(pl.len()) == 0
    dtype = TABLES[name].schema[column]
    changed = pl.when(is_first).then(pl.lit(value, dtype)).otherwise(column).alias(column)
    return {name: GOOD[name].with_columns(changed)}


def test_check_tables_lets_good_tables_of_heads_pass(run: RunRef) -> None:
    found = check(run, GOOD)
    wrong = found.filter(pl.col("outcome") != "passed").select("table", "expectation", "severity").rows()
    assert wrong == [("core_head_scores", "every head has a RefineScore", "warn")]
    assert set(found["table"]) == set(GOOD)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("core_near_misses", "score", 1.5, "cosines lie in -1..1"),
        ("core_near_misses", "label_id", 77, "label_id occurs in core_labels"),
        ("core_head_document_scores", "anchor_alignment", -1.2, "cosines lie in -1..1"),
        ("core_head_document_scores", "document_id", "d9", "document_id occurs in core_documents"),
        ("core_head_scores", "coarse_score", float("inf"), "CoarseScores are finite"),
        ("core_head_scores", "refine_score", float("nan"), "RefineScores are finite"),
        ("core_head_scores", "head", 1, "the key (dataset, model, layer, head) names one row"),
        ("core_head_profiles", "value", float("nan"), "summaries are finite"),
        ("core_head_profiles", "score_name", "coarse", "score_name is one of"),
        ("core_patch_effects", "ci_low", 5.0, "the interval holds the value"),
        ("core_patch_effects", "head_count", 0, "a patch has heads"),
        ("core_patch_effects", "direction", "forward", "direction is one of"),
        ("core_attention_insets", "attention_frac", 1.2, "attention_frac lies in 0..1"),
        ("core_trajectories", "position", 1.5, "positions lie in 0..1"),
        ("out_verdicts", "difference", None, "a verdict has its number"),
        ("out_verdicts", "sentence_text", " ", "the verdict is a sentence"),
        ("out_verdicts", "standing", "true", "standing is one of"),
    ],
)
def test_check_tables_stops_a_spoilt_table_of_heads(run: RunRef, name: str, column: str, value: object, message: str) -> None:
    with pytest.raises(CheckFailedError) as raised:
        check(run, first(name, column, value))
    (line,) = str(raised.value).splitlines()[1:]
    assert line.strip().startswith(f"{name}.") and message in line


def test_check_tables_stops_a_correlation_beyond_one_but_no_mean_of_a_layer(run: RunRef) -> None:
    summaries = GOOD["core_head_profiles"].with_columns(value=pl.lit(1.5))
    check(run, {"core_head_profiles": summaries.filter(pl.col("summary") == "layer_mean")})
    with pytest.raises(CheckFailedError, match=r"4 of 8 rows .*correlations lie in -1\.\.1"):
        check(run, {"core_head_profiles": summaries})


def test_check_tables_lets_an_effect_go_beyond_both_runs(run: RunRef) -> None:
    beyond = [toy.patch("top", 3, 1.2), toy.patch("low", 3, -0.3)]
    found = check(run, {"core_patch_effects": toy.table("core_patch_effects", beyond)})
    assert found["outcome"].unique().to_list() == ["passed"]


def test_check_tables_lets_a_verdict_without_measurement_have_no_number(run: RunRef) -> None:
    silent = GOOD["out_verdicts"].with_columns(standing=pl.lit("not_measured"), difference=pl.lit(None, pl.Float64))
    assert check(run, {"out_verdicts": silent})["outcome"].unique().to_list() == ["passed"]


def test_check_tables_warns_of_few_documents(run: RunRef, caplog: pytest.LogCaptureFixture) -> None:
    few = {
        name: GOOD[name].with_columns(document_count=pl.lit(19, pl.Int64)) for name in ("core_head_scores", "core_patch_effects")
    }
    with caplog.at_level(logging.WARNING):
        check(run, few)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "the mean is over at least 30 documents" in said and "the mean is over at least 20 documents" in said
