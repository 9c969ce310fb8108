"""The evaluate task on real Parquet tables and a real label index; vectors are given, so no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.config import EmbedConfig, EvaluateConfig, PipelineConfig
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from schemas.tables import TABLES
from tasks.evaluation.task import evaluate_systems
from tasks.labels.embedder import hash_text
from tasks.labels.task import open_embedder
from tests.support.label_indexes import save_exact_index
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table

LABELS = ["vim editor", "emacs editor", "gimp images", "inkscape drawings", "gcc compiler", "clang compiler"]
TRAIN = {"t0": [0, 4], "t1": [0], "t2": [2], "t3": [3]}
TEST = {"a": [0, 1], "b": [2], "no-target": [], "no-trace": [4]}
TEXTS = {"a": "an editor like vim", "b": "paint images", "no-target": "nothing", "no-trace": "a compiler, gcc"}
NEAREST = {"a": [5, 1, 0, 2], "b": [2, 3, 0, 1], "no-target": [0, 1, 2, 3], "no-trace": [5, 4, 0, 1]}
FILTERED = ("a", 5)
EMBED = EmbedConfig()
EVALUATE = EvaluateConfig(ks=(1, 3), prediction_count=3, head_min_count=2, tail_max_count=1, bootstrap_count=50)


@dataclass(frozen=True)
class Stage:
    """What the task is given."""

    run: RunRef
    inputs: StageInputs
    students: TableRef

    def evaluate(self, config: EvaluateConfig = EVALUATE) -> StageResult:
        return evaluate_systems.fn(self.run, self.inputs, config, EMBED, self.students)

    def written(self, name: str, config: EvaluateConfig = EVALUATE) -> pl.DataFrame:
        return read_table(next(ref for ref in self.evaluate(config).tables if ref.table == name))


def put(run: RunRef, stage: str, name: str, rows: Sequence[Mapping[str, object]]) -> TableRef:
    """Write rows as a table; columns that are not given are null."""
    table = TABLES[name]
    frame = pl.DataFrame(rows).with_columns(dataset=pl.lit("tiny")) if rows else table.empty()
    missing = [pl.lit(None).alias(column) for column in table.columns if column not in frame.columns]
    return write_table(run, stage, table, table.conform(frame.with_columns(missing)))


def traced(document_id: str, variant: str = "both", sample_index: int = 0) -> dict[str, object]:
    trace_id = document_id if (variant, sample_index) == ("both", 0) else f"{document_id}-{variant}-{sample_index}"
    key = {"trace_id": trace_id, "document_id": document_id, "split": "test"}
    return key | {"variant": variant, "sample_index": sample_index}


def listed(document_id: str, labels: list[int | None]) -> list[dict[str, object]]:
    return [
        {"trace_id": document_id, "document_id": document_id, "rank": rank, "label_id": i} for rank, i in enumerate(labels, 1)
    ]


def student_rows() -> list[dict[str, object]]:
    """Two seeds that differ on `b`; a filtered pair and a train document are among them."""
    lists = {
        ("answers", 0): {"a": [5, 1, 0], "b": [3, 2], "no-trace": [0], "t0": [0]},
        ("answers", 1): {"a": [5, 1, 0], "b": [2, 3], "no-trace": [0]},
    }
    return [
        {"system": system, "seed": seed, "document_id": d, "rank": rank, "label_id": label, "score": 1 / rank}
        for (system, seed), by_document in lists.items()
        for d, labels in by_document.items()
        for rank, label in enumerate(labels, 1)
    ]


def tables(run: RunRef) -> dict[str, TableRef]:
    texts = {**dict.fromkeys(TRAIN, "train"), **TEXTS}
    splits = {**dict.fromkeys(TRAIN, "train"), **dict.fromkeys(TEST, "test")}
    documents = [{"document_id": d, "split": splits[d], "document_text": text} for d, text in texts.items()]
    labels = [{"label_id": i, "label_name": name, "description_text": ""} for i, name in enumerate(LABELS)]
    pairs = [(d, i, False) for d, targets in {**TRAIN, **TEST}.items() for i in targets] + [(*FILTERED, True)]
    relevance = [{"document_id": d, "label_id": i, "split": splits[d], "relevance": 1.0, "is_filtered": f} for d, i, f in pairs]
    return {
        "core_documents": put(run, "ingest", "core_documents", documents),
        "core_labels": put(run, "ingest", "core_labels", labels),
        "core_relevance": put(run, "ingest", "core_relevance", relevance),
        "core_traces": put(run, "parse", "core_traces", [traced(d) for d in ("a", "b")]),
        "core_shortlist": put(run, "parse", "core_shortlist", listed("a", [1, None, 2, 0]) + listed("t0", [3])),
        "core_answers": put(run, "parse", "core_answers", listed("a", [None, 0]) + listed("b", [3])),
    }


def save_label_index(run: RunRef, labels_hash: str) -> Path:
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    save_exact_index(path, np.arange(len(LABELS), dtype=np.int32), np.eye(len(LABELS), dtype=np.float32), labels_hash)
    return path


def cache_vectors(run: RunRef) -> None:
    """Store a vector of every test text that is nearest to the labels of `NEAREST`, in that order."""
    vectors = np.zeros((len(TEXTS), len(LABELS)), np.float32)
    for row, d in enumerate(TEXTS):
        vectors[row, NEAREST[d]] = [0.8, 0.5, 0.3, 0.14]
    store = open_embedder(run, EMBED, EMBED.document_tokens).store
    store.append([hash_text(text) for text in TEXTS.values()], vectors)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    run = RunRef(root=str(tmp_path), run_id="r1", dataset="tiny", command="evaluate", config=PipelineConfig())
    refs = tables(run)
    cache_vectors(run)
    index = artifact_ref(run, "index", "label_index", save_label_index(run, refs["core_labels"].content_hash))
    students = put(run, "students", "core_predictions", student_rows())
    return Stage(run, StageInputs(tables=refs, artifacts={"label_index": index}), students)


def lists(predictions: pl.DataFrame, system: str, seed: int = 0) -> dict[str, list[int]]:
    part = predictions.filter((pl.col("system") == system) & (pl.col("seed") == seed)).sort("document_id", "rank")
    return {str(d): labels for d, labels in part.group_by("document_id").agg("label_id").iter_rows()}


def values(metrics: pl.DataFrame, metric: str, k: int, segment: str = "all") -> dict[str, float]:
    wanted = (pl.col("metric") == metric) & (pl.col("k") == k) & (pl.col("segment") == segment)
    return dict(metrics.filter(wanted).select("system", "value").iter_rows())


def test_evaluate_systems_ranks_every_system_after_filtering(stage: Stage) -> None:
    predictions = stage.written("core_predictions")
    assert lists(predictions, "teacher") == {"a": [0, 1, 2], "b": [3]}
    embedding = {d: [i for i in NEAREST[d] if (d, i) != FILTERED][:3] for d in TEST}
    assert lists(predictions, "embedding") == embedding
    assert lists(predictions, "answers", 1) == {"a": [1, 0], "b": [2, 3], "no-trace": [0]}
    assert lists(predictions, "lexical")["b"][0] == 2
    assert predictions.filter((pl.col("document_id") == FILTERED[0]) & (pl.col("label_id") == FILTERED[1])).is_empty()


def test_evaluate_systems_writes_metrics_of_the_same_documents(stage: Stage) -> None:
    metrics = stage.written("out_metrics")
    assert set(metrics.filter(pl.col("segment") == "all")["document_count"]) == {3}
    precision = values(metrics, "P", 1)
    assert precision["teacher"] == pytest.approx(1 / 3)
    assert precision["embedding"] == pytest.approx(2 / 3)
    assert precision["answers"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert values(metrics, "R", 3)["teacher"] == pytest.approx(1 / 3)
    assert values(metrics, "R", 3, "unseen")["answers"] == 1
    assert set(metrics["split"]) == {"test"}


def test_evaluate_systems_writes_contrasts_with_the_baseline(stage: Stage) -> None:
    contrasts = stage.written("out_contrasts").filter((pl.col("metric") == "P") & (pl.col("k") == 1))
    found = {str(s): d for s, d in contrasts.filter(pl.col("segment") == "all").select("system", "difference").iter_rows()}
    assert found.keys() == {"teacher", "lexical", "embedding", "knn-gold"}
    assert found["teacher"] == pytest.approx(1 / 3 - 1 / 2)
    assert set(contrasts["segment"]) == {"all", "head", "tail", "unseen"}


def test_evaluate_systems_counts_what_it_dropped(stage: Stage) -> None:
    cost = stage.evaluate().cost
    assert (cost.rows_in_count, cost.rejected_count) == (4, 1)


def test_evaluate_systems_logs_the_teachers_coverage(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tasks.evaluation"):
        stage.evaluate()
    assert "teacher: usable traces of 2 of 4 test documents" in caplog.text
    assert "4 test documents in, 1 without a target dropped" in caplog.text


def test_evaluate_systems_gives_the_same_tables_again(stage: Stage) -> None:
    first = {ref.table: ref.content_hash for ref in stage.evaluate().tables}
    assert {ref.table: ref.content_hash for ref in stage.evaluate().tables} == first


def test_evaluate_systems_takes_no_notice_of_single_phases_and_further_samples(stage: Stage) -> None:
    others = [traced("a", "phase-1"), traced("b", "phase-2-index"), traced("b", sample_index=1), traced("no-trace", "phase-1")]
    listing = [row | {"trace_id": other["trace_id"]} for other in others for row in listed(str(other["document_id"]), [4, 1, 5])]
    named = {"core_traces": others, "core_shortlist": listing, "core_answers": listing}
    more = {name: read_table(stage.inputs.tables[name]) for name in named}
    refs = {name: put(stage.run, "more", name, [*more[name].drop("dataset").to_dicts(), *rows]) for name, rows in named.items()}
    inputs = StageInputs(tables={**stage.inputs.tables, **refs}, artifacts=stage.inputs.artifacts)
    assert Stage(stage.run, inputs, stage.students).written("core_predictions").equals(stage.written("core_predictions"))


def test_evaluate_systems_without_students_still_scores_the_rest(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    empty = put(stage.run, "students", "core_predictions", [])
    alone = Stage(stage.run, stage.inputs, empty)
    assert alone.written("out_contrasts").is_empty()
    assert values(alone.written("out_metrics"), "P", 1).keys() == {"teacher", "lexical", "embedding", "knn-gold"}
    assert "no predictions of the baseline 'answers'" in caplog.text


def with_decoder_students(stage: Stage) -> Stage:
    """Two decoder students that wrote of documents `a` and `b` alone."""
    lists = {"decoder-cot": {"a": [5, 1, 0], "b": [3, 2]}, "decoder-mechanistic": {"a": [0, 1], "b": [2]}}
    rows = [
        {"system": system, "seed": 0, "document_id": d, "rank": rank, "label_id": label, "score": 1 / rank}
        for system, by_document in lists.items()
        for d, labels in by_document.items()
        for rank, label in enumerate(labels, 1)
    ]
    written = put(stage.run, "fidelity", "core_predictions", rows)
    inputs = StageInputs(tables=stage.inputs.tables | {"fidelity:core_predictions": written}, artifacts=stage.inputs.artifacts)
    return Stage(stage.run, inputs, stage.students)


def test_decoder_students_are_scored_on_the_documents_they_wrote_of(stage: Stage) -> None:
    metrics = with_decoder_students(stage).written("out_metrics").filter(metric="P", k=1, segment="all")
    found = {system: (value, count) for system, value, count in metrics.select("system", "value", "document_count").iter_rows()}
    assert found["decoder-cot"] == (0.5, 2)  # the filtered pair of `a` takes no place
    assert found["decoder-mechanistic"] == (1.0, 2)
    assert found["answers"][1] == 3


def test_decoder_students_leave_the_others_as_they_are_and_are_compared_among_themselves(stage: Stage) -> None:
    both = with_decoder_students(stage)
    for name in ("out_metrics", "out_contrasts"):
        others = both.written(name).filter(~pl.col("system").str.starts_with("decoder-"))
        assert others.equals(stage.written(name))
    pairs = (
        both.written("out_contrasts").filter(pl.col("system").str.starts_with("decoder-")).select("system", "baseline").unique()
    )
    assert pairs.rows() == [("decoder-mechanistic", "decoder-cot")]


def test_predictions_of_decoder_students_stay_in_their_own_table(stage: Stage) -> None:
    assert not with_decoder_students(stage).written("core_predictions")["system"].str.starts_with("decoder-").any()


def test_decoder_students_without_a_document_that_has_a_target_are_left_out(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"system": "decoder-cot", "seed": 0, "document_id": "no-target", "rank": 1, "label_id": 0, "score": 1.0}]
    written = put(stage.run, "fidelity", "core_predictions", rows)
    tables_and = StageInputs(
        tables=stage.inputs.tables | {"fidelity:core_predictions": written}, artifacts=stage.inputs.artifacts
    )
    alone = Stage(stage.run, tables_and, stage.students)
    assert not alone.written("out_metrics")["system"].str.starts_with("decoder-").any()
    assert "none of the test documents that decoder students wrote of" in caplog.text
