"""The fidelity stage on real tables and student folders: what it writes, what it stores, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import PreTrainedModel

from schemas.errors import ConfigError, StorageError
from schemas.fields import FIDELITY_METRICS
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.stages import STAGES
from schemas.student_settings import FidelityConfig
from tasks.checks.task import check_tables
from tasks.fidelity import task as stage
from tasks.open_models.models import ModelRef
from tasks.open_models.task import locate_model
from tests.contract.test_imports import ROOT
from tests.support.decoder_student_folders import save_planted_student, students_artifact
from tests.support.planted_decoder import planted_decoder
from tests.support.planted_stage import EMBED, TEST, planted_inputs, planted_run, publish_decoder
from warehouse.parquet import read_table

SETTINGS = FidelityConfig(prediction_count=5, positions=4, trajectory_documents=10, simulator_folds=3, bootstrap_count=60)


def noisy(seed: int) -> PreTrainedModel:
    """The planted decoder with weights shaken a little: it writes other traces."""
    model = planted_decoder()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return model


def prepared(root: Path) -> tuple[RunRef, StageInputs]:
    """A run with the planted decoder as the teacher and four students of it."""
    run = planted_run(root)
    inputs = planted_inputs(run)
    publish_decoder(run)
    teacher = locate_model(run)
    saved = [save_planted_student(run, teacher, "cot", seed, noisy(seed)) for seed in (0, 1)]
    saved += [save_planted_student(run, teacher, "mechanistic", 0), save_planted_student(run, teacher, "answers", 0)]
    return run, with_students(run, inputs, saved)


def with_students(run: RunRef, inputs: StageInputs, saved: list[Path]) -> StageInputs:
    return StageInputs(tables=inputs.tables, artifacts=inputs.artifacts | {"decoder_students": students_artifact(run, saved)})


def measure(run: RunRef, inputs: StageInputs, settings: FidelityConfig = SETTINGS, model: ModelRef | None = None) -> StageResult:
    found = model or locate_model(run)
    return stage.measure_fidelity.fn(run, inputs, found, run.config.heads, settings, EMBED)


def tables(result: StageResult) -> dict[str, pl.DataFrame]:
    return {ref.table: read_table(ref) for ref in result.tables}


Whole = tuple[RunRef, StageInputs, StageResult, dict[str, pl.DataFrame]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """One finished run."""
    run, inputs = prepared(tmp_path_factory.mktemp("fidelity"))
    result = measure(run, inputs)
    return run, inputs, result, tables(result)


def test_the_stage_writes_every_table_it_declares(whole: Whole) -> None:
    assert set(whole[3]) == set(STAGES["fidelity"].writes)
    assert all(len(frame) for frame in whole[3].values())


def test_every_student_writes_and_ranks_every_test_document(whole: Whole) -> None:
    written = whole[3]["core_student_traces"]
    assert written.group_by("system", "seed").len()["len"].to_list() == [TEST] * 4
    assert all(name.startswith("test") for name in written["document_id"])
    assert written.filter(system="decoder-answers")["written_text"].str.starts_with("<answer>").all()
    assert written.filter(system="decoder-cot")["written_text"].str.starts_with("<shortlist>").all()
    ranks = whole[3]["core_predictions"].group_by("system", "seed", "document_id").agg(pl.col("rank").sort())
    assert all(one.to_list() == [1, 2, 3, 4, 5] for one in ranks["rank"])


def test_traces_that_are_drawn_rank_labels_under_a_name_of_their_own(whole: Whole) -> None:
    run, inputs, _, first = whole
    found = tables(measure(run, inputs, SETTINGS.model_copy(update={"sample_count": 2})))["core_predictions"]
    drawn = found.filter(pl.col("system").str.ends_with("-sampled"))
    assert set(drawn["system"]) == {"decoder-cot-sampled", "decoder-mechanistic-sampled"}
    assert drawn.group_by("system", "seed", "document_id").len()["len"].unique().to_list() == [5]
    assert found.join(drawn, on="system", how="anti").equals(first["core_predictions"])


def test_students_without_a_trace_have_no_metric_of_one(whole: Whole) -> None:
    metrics = whole[3]["out_metrics"]
    assert set(metrics["metric"]) <= set(FIDELITY_METRICS)
    assert metrics.filter(system="decoder-answers")["metric"].to_list() == ["format_frac"]
    has_trace = set(metrics.filter(system="decoder-cot")["metric"])
    assert {"token_loss_nats", "focus_distance", "confusion_distance", "simulator_accuracy_xe", "leaking_frac"} <= has_trace
    assert set(metrics["k"]) == {0}


def test_the_loss_of_a_trace_is_of_held_out_train_documents(whole: Whole) -> None:
    rows = whole[3]["out_metrics"].filter(metric="token_loss_nats")
    assert set(rows["split"]) == {"train"}
    assert (rows["value"] > 0).all()


def test_a_student_like_the_teacher_is_at_distance_0_and_another_is_not(whole: Whole) -> None:
    found = dict(whole[3]["out_metrics"].filter(metric="focus_distance").select("system", "value").iter_rows())
    assert found["decoder-mechanistic"] == pytest.approx(0, abs=1e-6)
    assert found["decoder-cot"] > 0.001


def test_trajectories_are_of_the_teacher_decoder_and_of_students_with_a_trace(whole: Whole) -> None:
    rows = whole[3]["core_trajectories"]
    assert set(rows["system"]) == {"teacher-decoder", "decoder-cot", "decoder-mechanistic"}
    assert rows["document_id"].n_unique() <= SETTINGS.trajectory_documents


def test_contrasts_are_with_the_baselines_that_have_the_metric(whole: Whole) -> None:
    rows = whole[3]["out_contrasts"]
    assert set(rows.filter(metric="format_frac")["baseline"]) == {"decoder-cot", "decoder-answers"}
    assert set(rows.filter(metric="focus_distance")["baseline"]) == {"decoder-cot"}


def test_the_tables_pass_the_checks_between_stages(whole: Whole) -> None:
    run, inputs, result, _ = whole
    assert check_tables.fn(run, "fidelity", result.tables, tuple(inputs.tables.values())) == result.tables


def test_an_added_student_costs_the_others_nothing(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    run, inputs, _, first = whole
    added = save_planted_student(run, locate_model(run), "cot", 2, noisy(7))
    loads: list[str] = []
    real = stage.load_speaker

    def counted(material: stage.Material, student: stage.Student) -> object:
        loads.append(student.path.name)
        return real(material, student)

    monkeypatch.setattr(stage, "load_speaker", counted)
    found = tables(measure(run, with_students(run, inputs, [added])))
    assert loads == ["decoder-cot-seed2"]
    kept = found["core_student_traces"].filter(~((pl.col("system") == "decoder-cot") & (pl.col("seed") == 2)))
    assert kept.equals(first["core_student_traces"])


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.fidelity import task as stage
from tests.integration.test_fidelity import measure, prepared

run, inputs = prepared(Path(sys.argv[1]))
real, calls = stage.load_speaker, []

def counted(material, student):
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    return real(material, student)

stage.load_speaker = counted
import torch
torch.set_num_threads(1)
measure(run, inputs)
"""


def test_a_killed_run_goes_on_after_the_last_student(whole: Whole, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, env=dict(os.environ), check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    blocks = list((tmp_path / "cache" / "heads").rglob("written.parquet"))
    assert len(blocks) == 2
    run = planted_run(tmp_path)
    again = with_students(run, planted_inputs(run), sorted((tmp_path / "runs").rglob("decoder-*-seed?")))
    found = tables(measure(run, again))
    for name in ("core_student_traces", "core_predictions", "core_trajectories"):
        assert found[name].equals(whole[3][name]), name


def test_labels_are_read_out_as_asked(whole: Whole) -> None:
    run, inputs, _, first = whole
    following = tables(measure(run, inputs, SETTINGS.model_copy(update={"read_out": "next"})))["core_predictions"]
    assert (first["core_predictions"].filter(system="decoder-answers")["score"] >= 1).any()  # answers as written, the default
    assert (following["score"] <= 0).all()


def test_a_folder_models_students_are_refused(tmp_path: Path) -> None:
    run, inputs = prepared(tmp_path)
    chat = ModelRef(path="x", content_hash="h", name="some-model", is_compact=False)
    with pytest.raises(ConfigError, match="transformers serve"):
        measure(run, inputs, model=chat)


def test_students_of_another_teacher_are_refused(tmp_path: Path) -> None:
    run, inputs = prepared(tmp_path)
    other = ModelRef(path="x", content_hash="other", name="decoder", is_compact=True)
    saved = save_planted_student(run, other, "cot-kd", 0)
    with pytest.raises(ConfigError, match="taught by another decoder"):
        measure(run, with_students(run, inputs, [saved]))


def test_a_damaged_student_is_refused(tmp_path: Path) -> None:
    run, inputs = prepared(tmp_path)
    weights = next(Path(inputs.artifacts["decoder_students"].path).glob("decoder-cot-seed0/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(StorageError, match="decoder-cot-seed0"):
        measure(run, inputs)
