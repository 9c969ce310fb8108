"""Phases asked for apart, from a real stand-in to verdicts; and what of several runs the views show."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from schemas.config import CharacterizeConfig, ParseConfig
from schemas.fields import VARIANTS
from schemas.refs import RunRef, StageInputs
from schemas.stages import STAGES
from schemas.tables import CORE_TRACES, OUT_CONTRASTS, OUT_METRICS, OUT_VERDICTS, Table
from tasks.labels.embedder import hash_text
from tasks.labels.task import open_embedder
from tasks.parsing.task import parse_traces
from tasks.phases.claims import OPENINGS
from tasks.phases.task import characterize_text
from tasks.phases.trajectories import readable_step
from tasks.runs.records import PUBLISHED_SCHEMA
from tests.support.asked_sample import EMBED, Sample, generate, sample_run, serve, word_vectors
from warehouse.duck import query_warehouse, replace_published, upsert, write_warehouse
from warehouse.parquet import read_table, write_table

ASKED = 20


@pytest.fixture(scope="module")
def parsed(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRef, StageInputs]:
    """Traces of thirty documents a split, single phases of the first twenty test documents; steps have vectors of words."""
    root = tmp_path_factory.mktemp("apart")
    run = sample_run(sample, root / "run")
    manner: dict[str, Any] = {"answer_format": "asked", "faults": {"unknown_label": 0.0}}
    with serve(sample, root / "served", **manner) as served:
        traces = generate(run, sample, **served.settings, variants=VARIANTS, variant_documents=ASKED)
    inputs = StageInputs(tables=sample.inputs.tables | {"raw_traces": traces.tables[0]}, artifacts=sample.inputs.artifacts)
    tables = parse_traces.fn(run, inputs, ParseConfig(), EMBED).tables
    inputs = StageInputs(tables=inputs.tables | {ref.table: ref for ref in tables}, artifacts=inputs.artifacts)
    texts = sorted({readable_step(text) for text in read_table(inputs.tables["core_steps"])["step_text"]})
    open_embedder(run, EMBED, EMBED.label_tokens).store.append(list(map(hash_text, texts)), word_vectors(texts))
    return run, inputs


@pytest.fixture(scope="module")
def found(parsed: tuple[RunRef, StageInputs]) -> dict[str, pl.DataFrame]:
    """The tables of the stage."""
    run, inputs = parsed
    return {ref.table: read_table(ref) for ref in characterize_text.fn(run, inputs, CharacterizeConfig(), EMBED).tables}


def by_hand(inputs: StageInputs, table: str, variant: str) -> list[tuple[int, int, int]]:
    """Labels, hits and targets of each document's list, document by document."""
    traces, lists, pairs = (read_table(inputs.tables[name]) for name in ("core_traces", table, "core_relevance"))
    rows = []
    for trace_id, document in traces.filter(variant=variant, split="test").select("trace_id", "document_id").iter_rows():
        labels = set(lists.filter(trace_id=trace_id)["label_id"].drop_nulls())
        targets = set(pairs.filter(document_id=document)["label_id"])
        rows.append((len(labels), len(labels & targets), len(targets)))
    return rows


def test_single_phases_are_asked_of_the_first_test_documents(parsed: tuple[RunRef, StageInputs]) -> None:
    counts = read_table(parsed[1].tables["raw_traces"]).group_by("variant", "split").len()
    assert {(v, s): n for v, s, n in counts.iter_rows()} == {("both", "train"): 30, ("both", "test"): 30} | {
        (variant, "test"): ASKED for variant in VARIANTS[1:]
    }


def test_variants_are_measured_as_by_hand(parsed: tuple[RunRef, StageInputs], found: dict[str, pl.DataFrame]) -> None:
    values = {
        (system, metric): value for system, metric, value in found["out_metrics"].select("system", "metric", "value").rows()
    }
    for variant in ("phase-2-teacher", "phase-2-index", "phase-2-stranger"):
        rows = by_hand(parsed[1], "core_answers", variant)
        assert len(rows) == ASKED
        assert values[f"teacher/{variant}", "answer_recall"] == pytest.approx(sum(h / t for _, h, t in rows) / ASKED)
        assert values[f"teacher/{variant}", "answer_precision"] == pytest.approx(sum(h / max(n, 1) for n, h, _ in rows) / ASKED)
        assert values[f"teacher/{variant}", "answer_f1"] == pytest.approx(sum(2 * h / (n + t) for n, h, t in rows) / ASKED)
    rows = by_hand(parsed[1], "core_shortlist", "phase-1")
    assert values["teacher/phase-1", "shortlist_recall"] == pytest.approx(sum(h / t for _, h, t in rows) / ASKED)
    assert values["teacher/phase-1", "shortlist_recall"] > 0
    assert set(found["out_metrics"]["document_count"]) == {ASKED}


def test_contrasts_are_differences_of_the_metrics(found: dict[str, pl.DataFrame]) -> None:
    values = {row[:2]: row[2] for row in found["out_metrics"].select("system", "metric", "value").iter_rows()}
    rows = found["out_contrasts"].select("system", "baseline", "metric", "difference", "ci_low", "ci_high").rows()
    assert len(rows) == 7 * 3 + 2  # seven pairs in three metrics of answers, one in two of shortlists
    for system, baseline, metric, difference, low, high in rows:
        assert difference == pytest.approx(values[system, metric] - values[baseline, metric])
        assert low <= difference <= high


def test_every_claim_has_a_verdict_on_the_documents_it_was_measured_on(found: dict[str, pl.DataFrame]) -> None:
    counts = dict(found["out_verdicts"].select("claim", "document_count").iter_rows())
    assert counts == {
        "focus_early": 30, "confusion_late": 30, "refinement_helps": 30, "isolated": ASKED, "complementary": ASKED,
    }  # fmt: skip
    assert "not_measured" not in set(found["out_verdicts"]["standing"])
    assert all("stand-in" in sentence for sentence in found["out_verdicts"]["sentence_text"])


def test_whole_traces_give_the_same_verdicts_whether_single_phases_are_there(
    parsed: tuple[RunRef, StageInputs], found: dict[str, pl.DataFrame]
) -> None:
    run, inputs = parsed
    whole = write_table(run, "whole", CORE_TRACES, read_table(inputs.tables["core_traces"]).filter(variant="both"))
    alone = inputs.model_copy(update={"tables": inputs.tables | {"core_traces": whole}})
    tables = {ref.table: read_table(ref) for ref in characterize_text.fn(run, alone, CharacterizeConfig(), EMBED).tables}
    assert tables["core_trajectories"].equals(found["core_trajectories"])
    assert tables["out_verdicts"].head(3).equals(found["out_verdicts"].head(3))
    assert tables["out_verdicts"]["standing"].to_list()[3:] == ["not_measured"] * 2
    assert set(tables["out_metrics"]["document_count"]) == {30}


METRIC = {"metric": "P", "segment": "all", "split": "test", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "document_count": 40}
CONTRAST = {"segment": "all", "difference": 0.1, "ci_low": 0.0, "ci_high": 0.2, "p_value": 0.1, "document_count": 40}
VERDICT = {"standing": "holds", "sentence_text": "so", "difference": 0.1, "ci_low": 0.0, "ci_high": 0.2, "document_count": 40}


def rows_of(run_id: str) -> list[tuple[Table, list[dict[str, object]]]]:
    """What a run of every stage leaves: metrics, contrasts and verdicts of two stages each."""
    own = {"run_id": run_id, "dataset": "d", "seed_count": 1}
    ranked, asked = {"metric": "P", "k": 5}, {"metric": "answer_f1", "k": 0}
    return [
        (OUT_METRICS, [own | METRIC | ranked | {"system": "teacher"}, own | METRIC | asked | {"system": "teacher/both"}]),
        (
            OUT_CONTRASTS,
            [
                own | CONTRAST | ranked | {"system": "teacher", "baseline": "answers"},
                own | CONTRAST | asked | {"system": "teacher/phase-1", "baseline": "teacher/both"},
            ],
        ),
        (
            OUT_VERDICTS,
            [own | VERDICT | {"system": s, "claim": c} for s, c in (("teacher", "isolated"), ("decoder", "top_heads"))],
        ),
    ]


def published(*stages: tuple[str, str]) -> pl.DataFrame:
    """The newest publications: (stage, run id) with all the shared tables of the stage."""
    shared = ("out_metrics", "out_contrasts", "out_verdicts")
    rows = [
        {"dataset": "d", "stage": stage, "table": table, "run_id": run_id, "path": "", "row_count": 1}
        for stage, run_id in stages
        for table in STAGES[stage].writes
        if table in shared
    ]
    return pl.DataFrame(rows, schema=PUBLISHED_SCHEMA)


def load(root: Path, newest: pl.DataFrame, *run_ids: str) -> None:
    def write(connection: duckdb.DuckDBPyConnection) -> None:
        for table, rows in (part for run_id in run_ids for part in rows_of(run_id)):
            frame = pl.DataFrame([dict.fromkeys(table.columns) | row for row in rows], infer_schema_length=None)
            upsert(connection, table, table.conform(frame))
        replace_published(connection, newest)

    write_warehouse(root, write)


def test_views_show_each_stages_newest_rows_once(tmp_path: Path) -> None:
    load(tmp_path, published(("characterize", "new"), ("evaluate", "old"), ("heads", "old")), "old", "new")
    assert query_warehouse(tmp_path, "select system, metric, run_id from leaderboard").rows() == [("teacher", "P", "old")]
    contrasts = query_warehouse(tmp_path, "select system, run_id from contrasts order by system").rows()
    assert contrasts == [("teacher", "old"), ("teacher/phase-1", "new")]
    verdicts = query_warehouse(tmp_path, "select claim, run_id from verdicts order by claim").rows()
    assert verdicts == [("isolated", "new"), ("top_heads", "old")]


def test_leaderboard_holds_no_variant_where_one_run_made_all(tmp_path: Path) -> None:
    load(tmp_path, published(("characterize", "one"), ("evaluate", "one"), ("heads", "one")), "one")
    assert query_warehouse(tmp_path, "select system from leaderboard").rows() == [("teacher",)]
    assert query_warehouse(tmp_path, "select count(*) from contrasts").item() == 2
    assert query_warehouse(tmp_path, "select count(*) from verdicts").item() == 2


def test_the_verdicts_view_knows_the_claims_about_the_text() -> None:
    text = (files("warehouse") / "sql" / "views.sql").read_text()
    assert all(f"'{claim}'" in text for claim in OPENINGS)
