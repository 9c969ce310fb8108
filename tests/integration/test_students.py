"""Train and predict on real Parquet tables and a real label index; vectors are given, so no model is loaded."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.config import EmbedConfig, PipelineConfig
from schemas.errors import ConfigError, StorageError, TrainingError
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from schemas.student_settings import DistillConfig
from tasks.labels.embedder import hash_text
from tasks.labels.task import open_embedder
from tasks.students.packing import StudentDescription
from tasks.students.task import predict_students, train_students
from tests.support.given_tables import put
from tests.support.label_indexes import save_exact_index
from warehouse.checkpoints import keep_only, load_description
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table

WORDS = ["vim", "emacs", "gimp", "inkscape", "gcc", "clang", "python", "ruby", "mutt", "thunderbird"]
TRAIN_COUNT, TEST_COUNT = 40, 6
EMBED = EmbedConfig()
DISTILL = DistillConfig(
    methods=("answers", "mechanistic"), has_supervised_reference=False, seeds=(0,), shortlist_size=5, shortlister_steps=12,
    refiner_steps=6, batch_size=8,
)  # fmt: skip
ONE_METHOD = DISTILL.model_copy(update={"methods": ("mechanistic",)})
FILTERED = ("test0", 3)


@dataclass(frozen=True)
class Stage:
    """What the tasks are given."""

    run: RunRef
    inputs: StageInputs

    def train(self, distill: DistillConfig = DISTILL) -> StageResult:
        return train_students.fn(self.run, self.inputs, distill, EMBED)

    def predict(self, trained: StageResult, count: int = 10, embed: EmbedConfig = EMBED) -> pl.DataFrame:
        artifacts = {**self.inputs.artifacts, "students": trained.artifacts[0]}
        return read_table(
            predict_students.fn(self.run, StageInputs(tables=self.inputs.tables, artifacts=artifacts), count, embed)
        )


def answer_of(document: int) -> int:
    return document % len(WORDS)


def documents() -> dict[str, str]:
    texts = {f"train{i}": f"a text about {WORDS[answer_of(i)]}, number {i}" for i in range(TRAIN_COUNT)}
    return texts | {f"test{i}": f"more about {WORDS[answer_of(i)]}, number {i}" for i in range(TEST_COUNT)}


def trace_rows() -> dict[str, list[dict[str, object]]]:
    """Each train document's label is kept, the next is dropped; one trace has no label that links."""
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("core_traces", "core_shortlist", "core_steps", "core_answers")
    }
    for i in range(TRAIN_COUNT):
        key: dict[str, object] = {"trace_id": f"t{i}", "document_id": f"train{i}"}
        label, other = (None, None) if i == 0 else (answer_of(i), answer_of(i + 1))
        rows["core_traces"].append(key | {"variant": "both", "sample_index": 0})
        rows["core_answers"].append(key | {"rank": 1, "label_id": label})
        rows["core_shortlist"] += [key | {"rank": 1, "label_id": label}, key | {"rank": 2, "label_id": other}]
        rows["core_steps"] += [
            key | {"step": 0, "verdict": "keep", "target_label_id": label},
            key | {"step": 1, "verdict": "drop", "target_label_id": label, "near_miss_label_id": other},
        ]
    return rows


def tables(run: RunRef) -> dict[str, TableRef]:
    splits = {d: d.rstrip("0123456789") for d in documents()}
    texts: list[dict[str, object]] = [{"document_id": d, "split": splits[d], "document_text": t} for d, t in documents().items()]
    labels: list[dict[str, object]] = [
        {"label_id": i, "label_uid": w, "label_name": f"{w}: a tool", "description_text": ""} for i, w in enumerate(WORDS)
    ]
    pairs = [(d, answer_of(int(d[5 if d.startswith("train") else 4 :])), False) for d in documents()] + [(*FILTERED, True)]
    relevance: list[dict[str, object]] = [
        {"document_id": d, "label_id": i, "split": splits[d], "relevance": float(not f), "is_filtered": f} for d, i, f in pairs
    ]
    rows = {"core_documents": texts, "core_labels": labels, "core_relevance": relevance, **trace_rows()}
    return {name: put(run, name, table) for name, table in rows.items()}


def save_vectors(run: RunRef, labels_hash: str) -> Path:
    """A label index of axes, and a cached vector of every document beside its label's."""
    noise = np.random.default_rng(0).standard_normal((TRAIN_COUNT + TEST_COUNT, len(WORDS))) * 0.2
    answers = [*(answer_of(i) for i in range(TRAIN_COUNT)), *(answer_of(i) for i in range(TEST_COUNT))]
    vectors = np.eye(len(WORDS))[answers] + noise
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    open_embedder(run, EMBED, EMBED.document_tokens).store.append([hash_text(text) for text in documents().values()], unit)
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    save_exact_index(path, np.arange(len(WORDS), dtype=np.int32), np.eye(len(WORDS), dtype=np.float32), labels_hash)
    return path


def make_stage(root: Path) -> Stage:
    run = RunRef(root=str(root), run_id="r1", dataset="tiny", command="distill", config=PipelineConfig())
    refs = tables(run)
    index = artifact_ref(run, "index", "label_index", save_vectors(run, refs["core_labels"].content_hash))
    return Stage(run, StageInputs(tables=refs, artifacts={"label_index": index}))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def folder(stage: Stage) -> Path:
    return artifact_path(stage.run.root_path, "r1", "distill", "students")


def test_train_students_writes_whole_folders_and_losses(stage: Stage) -> None:
    result = stage.train()
    assert {p.name for p in folder(stage).iterdir()} == {"answers-seed0", "mechanistic-seed0"}
    files = {p.name for p in (folder(stage) / "answers-seed0").iterdir()}
    assert files == {"model.safetensors", "config.json", "README.md", "train_steps.parquet"}
    losses = read_table(result.tables[0])
    assert set(losses["component"]) == {"shortlister", "refiner"}
    assert set(losses.filter(pl.col("system") == "answers")["loss_name"]) == {"answer_loss", "total_loss"}
    assert result.cost.rejected_count == 1  # the trace whose answer does not link


def test_train_students_says_where_labels_and_embedders_are(stage: Stage) -> None:
    stage.train(ONE_METHOD)
    found = load_description(folder(stage) / "mechanistic-seed0", StudentDescription)
    assert found.label_index is not None
    assert stage.run.root_path / found.label_index.path == Path(stage.inputs.artifacts["label_index"].path)
    assert found.label_index.document_embedder == open_embedder(stage.run, EMBED, EMBED.document_tokens).identity
    assert found.calibration is None  # 4 development documents


def test_train_students_without_development_documents_gives_no_calibration(stage: Stage) -> None:
    stage.train(ONE_METHOD.model_copy(update={"dev_frac": 0.0}))
    assert load_description(folder(stage) / "mechanistic-seed0", StudentDescription).calibration is None


def test_train_students_is_bit_equal_on_a_rerun_from_nothing(stage: Stage) -> None:
    first = stage.train().artifacts[0]
    before = {p.parent.name: p.read_bytes() for p in folder(stage).glob("*/model.safetensors")}
    shutil.rmtree(first.path)
    stage.train()
    assert {p.parent.name: p.read_bytes() for p in folder(stage).glob("*/model.safetensors")} == before


def test_train_students_resumes_with_the_students_that_are_there(stage: Stage) -> None:
    before = read_table(stage.train().tables[0])
    kept, lost = folder(stage) / "answers-seed0", folder(stage) / "mechanistic-seed0"
    stamp = (kept / "model.safetensors").stat().st_mtime_ns
    (lost / "config.json").unlink()  # as if killed
    (folder(stage) / "mechanistic-seed0.tmp-1").mkdir()
    again = read_table(stage.train().tables[0])
    assert (kept / "model.safetensors").stat().st_mtime_ns == stamp
    assert {p.name for p in folder(stage).iterdir()} == {kept.name, lost.name}
    assert again.equals(before)


def test_train_students_trains_anew_when_a_setting_changes(stage: Stage) -> None:
    stage.train()
    stamp = (folder(stage) / "answers-seed0" / "model.safetensors").stat().st_mtime_ns
    stage.train(DISTILL.model_copy(update={"learning_rate": 1e-3}))
    assert (folder(stage) / "answers-seed0" / "model.safetensors").stat().st_mtime_ns != stamp


def test_train_students_with_an_override_trains_only_that_method_anew(stage: Stage) -> None:
    stage.train()
    stamps = {p.parent.name: p.stat().st_mtime_ns for p in folder(stage).glob("*/model.safetensors")}
    stage.train(DISTILL.model_copy(update={"overrides": {"mechanistic": {"lambda_p1": 1.5, "weight_decay": 0.2}}}))
    anew = {p.parent.name for p in folder(stage).glob("*/model.safetensors") if p.stat().st_mtime_ns != stamps[p.parent.name]}
    assert anew == {"mechanistic-seed0"}
    found = load_description(folder(stage) / "mechanistic-seed0", StudentDescription)
    assert (found.lambda_p1, found.weight_decay, found.learning_rate) == (1.5, 0.2, DISTILL.learning_rate)
    assert "| peak learning rate, weight decay | 0.002, 0.2 |" in (folder(stage) / "mechanistic-seed0" / "README.md").read_text()


def test_train_students_for_seconds_says_which_steps_were_reached(stage: Stage) -> None:
    steps = read_table(stage.train(ONE_METHOD.model_copy(update={"max_cpu_s": 3.0})).tables[0])
    found = load_description(folder(stage) / "mechanistic-seed0", StudentDescription)
    reached = dict(steps.group_by("component").agg(pl.col("train_step").max() + 1).iter_rows())
    assert reached == {"shortlister": found.shortlister_steps, "refiner": found.refiner_steps}
    assert found.shortlister_steps > DISTILL.shortlister_steps
    card = (folder(stage) / "mechanistic-seed0" / "README.md").read_text()
    assert f"{found.refiner_steps} refiner, 8 documents each; as many as fit 3 CPU seconds" in card


def test_train_students_without_traces_says_how_many_there_are(stage: Stage) -> None:
    empty = {name: put(stage.run, name, []) for name in trace_rows()}
    bare = Stage(stage.run, StageInputs(tables={**stage.inputs.tables, **empty}, artifacts=stage.inputs.artifacts))
    with pytest.raises(TrainingError, match="0 of 40 training documents have an answer"):
        bare.train()


def test_train_students_takes_no_notice_of_single_phases_and_further_samples(stage: Stage) -> None:
    before = read_table(stage.train(ONE_METHOD).tables[0])
    others = {"phase-1": {"variant": "phase-1", "sample_index": 0}, "second": {"variant": "both", "sample_index": 1}}
    rows = trace_rows()
    for name, given in trace_rows().items():
        for other, told in others.items():
            added = [row | {"trace_id": f"{other}-{row['trace_id']}"} for row in given]
            swapped = {"label_id": 9, "target_label_id": 8, "near_miss_label_id": 7}
            rows[name] += [
                row | (told if name == "core_traces" else {k: v for k, v in swapped.items() if k in row}) for row in added
            ]
    refs = {name: put(stage.run, name, table) for name, table in rows.items()}
    more = Stage(stage.run, StageInputs(tables={**stage.inputs.tables, **refs}, artifacts=stage.inputs.artifacts))
    assert read_table(more.train(ONE_METHOD).tables[0]).equals(before)


def test_train_students_without_verdicts_trains_what_needs_none(stage: Stage) -> None:
    refs = {**stage.inputs.tables, "core_steps": put(stage.run, "core_steps", [])}
    bare = Stage(stage.run, StageInputs(tables=refs, artifacts=stage.inputs.artifacts))
    with pytest.raises(TrainingError, match="both a kept and a dropped label"):
        bare.train()
    assert bare.train(DISTILL.model_copy(update={"methods": ("answers", "mechanistic-no-p2")})).artifacts


def test_predict_students_ranks_test_documents_without_filtered_pairs(stage: Stage) -> None:
    predictions = stage.predict(stage.train())
    assert set(predictions["document_id"]) == {f"test{i}" for i in range(TEST_COUNT)}
    assert predictions.filter(pl.col("document_id") == FILTERED[0], pl.col("label_id") == FILTERED[1]).is_empty()
    sizes = predictions.group_by("system", "document_id").agg(pl.len(), pl.col("rank").max(), pl.col("label_id").n_unique())
    assert (sizes["len"] == sizes["rank"]).all()
    assert (sizes["len"] == sizes["label_id"]).all()
    first = predictions.filter(pl.col("rank") == 1)
    answers = [answer_of(int(d.removeprefix("test"))) for d in first["document_id"]]
    assert np.mean(first["label_id"].to_numpy() == answers) > 0.8


def test_predict_students_keeps_as_many_as_asked_for(stage: Stage) -> None:
    trained = stage.train()
    short, long = stage.predict(trained, 2), stage.predict(trained, 10)
    assert short["rank"].max() == 2
    assert short.equals(long.filter(pl.col("rank") <= 2))


def test_predict_students_refuses_another_embedder(stage: Stage) -> None:
    trained = stage.train()
    longer = EMBED.model_copy(update={"document_tokens": 64})
    store = open_embedder(stage.run, longer, longer.document_tokens).store
    vectors = np.eye(len(WORDS), dtype=np.float32)[np.zeros(TRAIN_COUNT + TEST_COUNT, int)]
    store.append([hash_text(text) for text in documents().values()], vectors)
    with pytest.raises(ConfigError, match="answers-seed0: trained with embed"):
        stage.predict(trained, embed=longer)


def test_predict_students_without_students_says_what_to_run(stage: Stage) -> None:
    trained = stage.train()
    keep_only(folder(stage), set())
    with pytest.raises(StorageError, match="holds no student; run `ctd distill` again"):
        stage.predict(trained)


def test_predict_students_names_a_damaged_student(stage: Stage) -> None:
    trained = stage.train()
    (folder(stage) / "answers-seed0" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(StorageError, match="answers-seed0 is missing or damaged"):
        stage.predict(trained)
