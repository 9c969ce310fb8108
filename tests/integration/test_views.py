"""The views on traces, heads, fidelity and verdicts, over rows made by hand."""

from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from schemas.refs import StageCost, StageOutput
from schemas.tables import OUT_VERDICTS, TABLES
from tasks.reports.patching import one_row_a_set
from tasks.runs.records import published_rows
from tests.support.runs import tiny_run
from tests.unit.reports.report_frames import HEAD_SCORES, PATCH_EFFECTS, RUN, contrast, metric, patch, table
from warehouse.duck import query_warehouse, replace_published, upsert, write_warehouse
from warehouse.parquet import write_table


def published(root: Path, stage: str, name: str, frame: pl.DataFrame, run_id: str = "run-1", dataset: str = "toy") -> StageOutput:
    ref = write_table(tiny_run(root, dataset=dataset, run_id=run_id), stage, TABLES[name], frame)
    return StageOutput(
        stage=stage, dataset=dataset, run_id=run_id, fingerprint="f", inputs=(), tables=(ref,), artifacts=(), duration_s=0.0,
        cost=StageCost(), published_at="2026-07-01",
    )  # fmt: skip


def rows(root: Path, view: str, *outputs: StageOutput, verdicts: pl.DataFrame | None = None) -> pl.DataFrame:
    def write(connection: duckdb.DuckDBPyConnection) -> None:
        if verdicts is not None:
            upsert(connection, OUT_VERDICTS, verdicts)
        replace_published(connection, published_rows(outputs))

    write_warehouse(root, write)
    return query_warehouse(root, f"select * from {view}")


def test_head_ranking_ranks_by_both_scores_and_puts_heads_without_one_last(tmp_path: Path) -> None:
    found = rows(tmp_path, "head_ranking", published(tmp_path, "heads", "core_head_scores", HEAD_SCORES))
    by_coarse = found.select(pl.format("L{}H{}", "layer", "head"), "coarse_rank", "refine_rank").rows()
    assert by_coarse == [("L0H0", 1, 3), ("L1H2", 2, 1), ("L0H1", 3, 5), ("L0H2", 4, 6), ("L1H1", 5, 4), ("L1H0", 6, 2)]


def test_head_ranking_ranks_every_model_apart(tmp_path: Path) -> None:
    both = pl.concat([HEAD_SCORES, HEAD_SCORES.with_columns(model=pl.lit("other"))])
    found = rows(tmp_path, "head_ranking", published(tmp_path, "heads", "core_head_scores", both))
    assert found.group_by("model").agg(pl.col("coarse_rank").max()).sort("model").rows() == [("decoder", 6), ("other", 6)]


def test_patching_makes_draws_one_row_with_their_mean_and_range(tmp_path: Path) -> None:
    draws = [patch("random", 3, n / 100, draw=n, document_count=48 - n) for n in range(41)]
    effects = table("core_patch_effects", [*draws, patch("top", 3, 0.8), patch("random", 8, 0.5)])
    found = rows(tmp_path, "patching", published(tmp_path, "heads", "core_patch_effects", effects))
    keys = ("head_set", "head_count", "draw_count", "effect_frac", "effect_low", "effect_high")
    assert [row[:3] for row in found.select(keys).rows()] == [("random", 3, 41), ("top", 3, 1), ("random", 8, 1)]
    # draws 0.00, 0.01 ... 0.40: mean 0.2; a fortieth of the way from either end is one draw in
    assert found.row(0, named=True)["effect_frac"] == pytest.approx(0.2)
    assert found.select("effect_low", "effect_high").row(0) == (pytest.approx(0.01), pytest.approx(0.39))
    assert found.select("low", "value", "high").row(0) == (pytest.approx(1.01), pytest.approx(1.2), pytest.approx(1.39))
    assert found["document_count"].to_list() == [8, 48, 48]
    # a single set keeps its interval over documents
    assert found.select("low", "high", "effect_low", "effect_high").row(1) == pytest.approx((1.7, 1.9, 0.7, 0.9))


def test_patching_has_no_share_where_the_runs_do_not_differ(tmp_path: Path) -> None:
    effects = table("core_patch_effects", [patch("random", 3, None, draw=n) for n in range(3)] + [patch("top", 3, None)])
    found = rows(tmp_path, "patching", published(tmp_path, "heads", "core_patch_effects", effects))
    assert found.select("effect_frac", "effect_low", "effect_high").rows() == [(None, None, None)] * 2
    assert found["value"].to_list() == [1.0, 1.0]


def test_patching_keeps_tests_apart(tmp_path: Path) -> None:
    tests = [("shortlist", "denoise", "margin"), ("shortlist", "noise", "margin"), ("refine", "noise", "confusion")]
    made = [patch("top", 3, 0.1 * n, phase=p, direction=d, outcome_quantity=q) for n, (p, d, q) in enumerate(tests)]
    effects = table("core_patch_effects", made)
    found = rows(tmp_path, "patching", published(tmp_path, "heads", "core_patch_effects", effects))
    assert found.select("phase", "direction", "outcome_quantity", "draw_count").rows() == [(*test, 1) for test in sorted(tests)]


def test_patching_and_the_report_say_the_same(tmp_path: Path) -> None:
    found = rows(tmp_path, "patching", published(tmp_path, "heads", "core_patch_effects", PATCH_EFFECTS))
    own = one_row_a_set(PATCH_EFFECTS).with_columns(dataset=pl.lit("toy"))
    assert_frame_equal(found, own.select(found.columns), check_row_order=False, check_dtypes=False)


def verdict(run_id: str, claim: str, sentence: str) -> dict[str, object]:
    known = {"system": "teacher", "standing": "holds", "difference": 0.1, "document_count": 40}
    return known | {"run_id": run_id, "claim": claim, "sentence_text": sentence}


def test_verdicts_are_those_of_the_newest_publication_of_their_own_stage(tmp_path: Path) -> None:
    claims = ("focus_early", "shortlist_heads")
    stored = table("out_verdicts", [verdict(run, claim, f"{claim} of {run}") for run in ("run-1", "run-2") for claim in claims])
    outputs = [
        published(tmp_path, stage, "out_verdicts", stored.filter(pl.col("run_id") == run).head(1), run)
        for stage, run in (("heads", "run-1"), ("characterize", "run-2"))
    ]
    found = rows(tmp_path, "verdicts", *outputs, verdicts=stored)
    assert found["sentence_text"].to_list() == ["focus_early of run-2", "shortlist_heads of run-1"]


def test_views_without_any_publication_are_empty(tmp_path: Path) -> None:
    for view in ("head_ranking", "patching", "verdicts"):
        assert rows(tmp_path, view).is_empty()


def test_traces_of_datasets_with_the_same_documents_are_a_row_each_with_its_own_completion(tmp_path: Path) -> None:
    outputs = []
    for dataset in ("toy", "copy"):
        key: dict[str, object] = {"dataset": dataset, "document_id": "d1", "request_hash": "r1", "trace_id": "t1"}
        raw = table("raw_traces", [key | {"completion_text": f"said of {dataset}"}])
        outputs += [
            published(tmp_path, stage, name, frame, f"run-{dataset}", dataset)
            for stage, name, frame in (("trace", "raw_traces", raw), ("parse", "core_traces", table("core_traces", [key])))
        ]
    found = rows(tmp_path, "traces", *outputs).select("dataset", "completion_text").sort("dataset")
    assert found.rows() == [("copy", "said of copy"), ("toy", "said of toy")]


def fidelity_rows(root: Path) -> pl.DataFrame:
    metrics = table(
        "out_metrics",
        [metric(system, "las", 0, value) for system, value in (("decoder-cot", 0.1), ("decoder-mechanistic", 0.3))]
        + [metric("teacher", "answer_f1", 0, 0.5), metric("decoder-cot", "R", 10, 0.4)],
    )
    contrasts = table(
        "out_contrasts",
        [
            contrast("decoder-mechanistic", 0.2, 0.1, 0.3, baseline="decoder-cot", metric="las", k=0),
            contrast("teacher", 0.1, 0.0, 0.2, metric="answer_f1", k=0),
        ],
    )

    def write(connection: duckdb.DuckDBPyConnection) -> None:
        upsert(connection, TABLES["out_metrics"], metrics)
        upsert(connection, TABLES["out_contrasts"], contrasts)
        outputs = [
            published(root, "fidelity", name, frame, str(RUN["run_id"]))
            for name, frame in (("out_metrics", metrics), ("out_contrasts", contrasts))
        ]
        replace_published(connection, published_rows(outputs))

    write_warehouse(root, write)
    return query_warehouse(root, "select * from fidelity")


def test_fidelity_puts_contrasts_beside_each_metric_of_a_decoder_student(tmp_path: Path) -> None:
    found = fidelity_rows(tmp_path)
    assert found.select("system", "metric", "value").rows() == [("decoder-cot", "las", 0.1), ("decoder-mechanistic", "las", 0.3)]
    assert found["to_cot"].to_list() == [None, 0.2]
    assert found["to_cot_low"].to_list() == [None, 0.1]
    assert found["to_random_heads"].to_list() == [None, None]


def test_contrasts_of_fidelity_are_those_of_decoder_students(tmp_path: Path) -> None:
    fidelity_rows(tmp_path)
    assert query_warehouse(tmp_path, "select system from contrasts")["system"].to_list() == ["decoder-mechanistic"]
