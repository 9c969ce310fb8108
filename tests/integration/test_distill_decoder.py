"""Decoder students on real tables, taught by the planted decoder: loaded as anybody would, made once, taken up after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from schemas.errors import ConfigError, MissingTableError, ModelRefusedError, PipelineError, TrainingError
from schemas.fields import SCORE_NAMES
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.stages import STAGES
from schemas.student_settings import DecoderStudentsConfig
from tasks.checks.task import check_tables
from tasks.decoder_students import task as stage
from tasks.decoder_students.training import State, Training
from tasks.open_models.task import locate_model
from tests.contract.test_imports import ROOT
from tests.support.planted_decoder import COARSE_HEAD, HEADS, REFINE_HEAD
from tests.support.planted_stage import EMBED, all_rows, planted_inputs, planted_run, publish_decoder, put, tokenizer
from tests.support.planted_stage import settings as heads_settings
from tests.support.tiny_tokenizers import word_level
from warehouse.decoder_store import checkpoint_dir
from warehouse.decoder_students_store import list_decoder_students, load_student_description, students_dir
from warehouse.parquet import read_table

LAYERS = 4


def small(**changes: object) -> DecoderStudentsConfig:
    """Settings small enough for a test."""
    made: dict[str, object] = {
        "methods": ("answers", "cot", "mechanistic"), "seeds": (0,), "layers": 2, "d_model": 16, "heads": 2, "kv_heads": 1,
        "train_steps": 6, "batch_size": 4, "phase1_heads": 1, "phase2_heads": 1, "match_frac": 0.5, "match_documents": 4,
        "checkpoint_steps": 2, "device": "cpu",
    }  # fmt: skip
    return DecoderStudentsConfig.model_validate(made | changes)


def score_rows(model: str = "decoder", layers: int = LAYERS) -> list[dict[str, object]]:
    """Scores of all heads; the planted ones are the best."""
    draw = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for layer in range(layers):
        for head in range(HEADS):
            scores: dict[str, object] = {name: float(draw.uniform(0, 0.1)) for name in SCORE_NAMES}
            scores |= {"coarse_score": 5.0} if (layer, head) == (0, COARSE_HEAD) else {}
            scores |= {"refine_score": 5.0} if (layer, head) == (layers - 1, REFINE_HEAD) else {}
            rows.append({"model": model, "layer": layer, "head": head, "document_count": 40, **scores})
    return rows


def prepared(root: Path, run_id: str = "r1", scores: list[dict[str, object]] | None = None) -> tuple[RunRef, StageInputs]:
    """A run, and what the stage is given: all documents but development ones are few, so some of these are trained on."""
    run = planted_run(root, run_id=run_id)
    inputs = planted_inputs(run)
    tables = inputs.tables | {"core_head_scores": put(run, "core_head_scores", scores or score_rows())}
    publish_decoder(run)
    return run, inputs.model_copy(update={"tables": tables})


def train(run: RunRef, inputs: StageInputs, students: DecoderStudentsConfig | None = None) -> StageResult:
    chosen = students or small()
    run = run.model_copy(update={"config": run.config.model_copy(update={"decoder_students": chosen})})
    return stage.distill_decoder_students.fn(run, inputs, locate_model(run), chosen, run.config.heads, EMBED)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


Made = tuple[RunRef, StageInputs, StageResult]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One finished run."""
    run, inputs = prepared(tmp_path_factory.mktemp("students"))
    return run, inputs, train(run, inputs)


def test_the_stage_writes_what_it_declares_and_its_tables_pass_their_checks(made: Made) -> None:
    run, _, result = made
    assert {ref.table for ref in result.tables} == set(STAGES["distill-decoder"].writes)
    check_tables(run, "distill-decoder", result.tables, ())
    losses, matches = (
        read_table(next(ref for ref in result.tables if ref.table == name)) for name in STAGES["distill-decoder"].writes
    )
    assert set(losses["system"]) == {"decoder-answers", "decoder-cot", "decoder-mechanistic"}
    assert set(losses["component"]) == {"decoder-student"}
    assert matches["matched_phase", "teacher_layer", "teacher_head"].rows() == [("p1", 0, COARSE_HEAD), ("p2", 3, REFINE_HEAD)]
    assert set(matches["system"]) == {"decoder-mechanistic"}


def test_a_students_folder_loads_with_plain_transformers_and_says_what_it_is(made: Made) -> None:
    run, _, _ = made
    folders = list_decoder_students(students_dir(run.root_path, run.run_id))
    assert [folder.name for folder in folders] == [f"decoder-{name}-seed0" for name in ("answers", "cot", "mechanistic")]
    model, loaded = AutoModelForCausalLM.from_pretrained(folders[1]), AutoTokenizer.from_pretrained(folders[1])
    ids = loaded("<document> typing plaina <shortlist>", return_tensors="pt")["input_ids"]
    assert model(input_ids=ids).logits.shape == (1, 4, len(loaded))
    described = load_student_description(folders[2])
    assert (described.method, described.step_count, len(described.matched_heads)) == ("mechanistic", 6, 2)
    assert not set(described.dev_document_ids) & {f"test{number}" for number in range(24)}
    assert {f"dev{number}" for number in range(40)} <= set(described.dev_document_ids)
    cards = [(folder / "README.md").read_text() for folder in folders]
    assert ["goes on with `<answer>`" in card and "writes the labels of a document and no trace" in card for card in cards] == [
        True, False, False,
    ]  # fmt: skip
    assert "imitates the teacher's L0H1" in cards[2]


def test_answers_and_cot_begin_with_the_same_weights_and_learn_other_tokens(made: Made) -> None:
    losses = pl.concat([read_table(ref) for ref in made[2].tables if ref.table == "core_train_steps"])
    at_first = losses.filter(train_step=0)
    assert set(at_first.filter(system="decoder-answers")["loss_name"]) == {"token_loss", "answer_loss", "total_loss"}
    assert {"shortlist_loss", "refine_loss"} <= set(at_first.filter(system="decoder-cot")["loss_name"])
    first = {
        name: at_first.filter(system=name, loss_name="token_loss")["loss_nats"][0]
        for name in ("decoder-cot", "decoder-mechanistic")
    }
    assert first["decoder-cot"] == first["decoder-mechanistic"]


def test_a_second_run_trains_nothing_and_another_method_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    run, inputs, first = made
    calls: list[str] = []
    real = stage.make_student

    def counted(*args: Any) -> None:  # those of `make_student`
        calls.append(args[-1].name)
        real(*args)

    monkeypatch.setattr(stage, "make_student", counted)
    assert train(run, inputs).artifacts[0].content_hash == first.artifacts[0].content_hash
    assert not calls
    later = run.model_copy(update={"run_id": "r2"})
    train(later, inputs, small(methods=("cot", "mechanistic", "mechanistic-random-heads")))
    assert calls == ["decoder-mechanistic-random-heads-seed0"]
    copied = [students_dir(run.root_path, one) / "decoder-cot-seed0" for one in ("r1", "r2")]
    assert weights(copied[0]) == weights(copied[1])


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tasks.decoder_students import task as stage
from tasks.decoder_students.training import State, Training
from tests.integration.test_distill_decoder import prepared, small, train

torch.set_num_threads(1)
run, inputs = prepared(Path(sys.argv[1]))
real, calls = stage.save_checkpoint, []

def counted(*args):
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    real(*args)

stage.save_checkpoint = counted
train(run, inputs, small(methods=("mechanistic",)))
"""


def test_a_killed_training_goes_on_to_the_same_bits(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert list(checkpoint_dir(tmp_path, "r1", "distill-decoder", "checkpoint-decoder-mechanistic-seed0").iterdir())
    begun: list[int] = []
    real = Training.take_up

    def counted(self: Training, state: State) -> None:
        begun.append(state["step"])
        real(self, state)

    monkeypatch.setattr(Training, "take_up", counted)
    run, inputs = prepared(tmp_path)
    train(run, inputs, small(methods=("mechanistic",)))
    assert begun == [4]
    name = "decoder-mechanistic-seed0"
    assert weights(students_dir(tmp_path, "r1") / name) == weights(students_dir(made[0].root_path, "r1") / name)
    assert not checkpoint_dir(tmp_path, "r1", "distill-decoder", f"checkpoint-{name}").exists()


def llama_folder(path: Path, seed: int = 0) -> Path:
    """A random Llama of the teacher's tokens."""
    made = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, eos_token_id=made.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    made.save_pretrained(path)
    return path


def test_adapters_of_a_folders_model_are_trained_alone_and_merged(tmp_path: Path) -> None:
    run, inputs = prepared(tmp_path)
    start = llama_folder(tmp_path / "llama")
    train(run, inputs, small(student=str(start), lora_rank=2, methods=("mechanistic",)))
    folder = students_dir(run.root_path, run.run_id) / "decoder-mechanistic-seed0"
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (start, folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert set(before) == set(after)
    assert changed
    assert not any("o_proj" in name or "embed" in name or "lm_head" in name or "norm" in name for name in changed)
    described = load_student_description(folder)
    assert described.trained_count < described.parameter_count


def test_a_folders_model_is_trained_whole(tmp_path: Path) -> None:
    run, inputs = prepared(tmp_path)
    start = llama_folder(tmp_path / "llama")
    train(run, inputs, small(student=str(start), methods=("cot",), accumulation=2))
    folder = students_dir(run.root_path, run.run_id) / "decoder-cot-seed0"
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (start, folder))
    assert all(not torch.equal(before[name], after[name]) for name in before)


def refused(root: Path, error: type[PipelineError], match: str, students: DecoderStudentsConfig, **given: object) -> None:
    run, inputs = prepared(root, scores=given.get("scores"))  # type: ignore[arg-type]
    if "model" in given:
        heads = heads_settings(model=str(given["model"]))
        run = run.model_copy(update={"config": run.config.model_copy(update={"heads": heads})})
    if "left" in given:
        rows = {name: some[: int(str(given["left"]))] if name == "core_traces" else some for name, some in all_rows().items()}
        inputs = planted_inputs(run, rows)
        inputs = inputs.model_copy(
            update={"tables": inputs.tables | {"core_head_scores": put(run, "core_head_scores", score_rows())}}
        )
    with pytest.raises(error, match=match):
        train(run, inputs, students)
    assert not students_dir(run.root_path, run.run_id).exists()


def test_heads_that_were_not_scored_are_refused_only_if_they_are_imitated(tmp_path: Path) -> None:
    refused(tmp_path, MissingTableError, "run `ctd heads planted`", small(), scores=score_rows("another"))
    run, inputs = prepared(tmp_path, scores=score_rows("another"))
    train(run, inputs, small(methods=("cot",)))


def test_more_heads_than_the_teacher_has_are_refused(tmp_path: Path) -> None:
    asked = small(phase1_heads=17, layers=8, heads=4, d_model=16)
    refused(tmp_path, ConfigError, "17 heads of the teacher", asked)


def test_scores_of_another_model_of_the_same_name_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, ConfigError, "2 layers of 4 heads, but the teacher has 4", small(), scores=score_rows(layers=2))


def test_a_folder_as_teacher_needs_a_folder_as_student(tmp_path: Path) -> None:
    model = llama_folder(tmp_path / "teacher")
    refused(tmp_path, ConfigError, "name a folder to start from", small(), model=model)


def test_answers_that_stand_among_the_reasoning_of_a_folders_text_are_refused(tmp_path: Path) -> None:
    model = llama_folder(tmp_path / "teacher")
    asked = small(student=str(model), methods=("answers",))
    refused(tmp_path, ConfigError, r"behind the first final answer \(29\).*take `answers` out", asked, model=model)


def test_a_student_of_another_tokenizer_is_refused_with_both_sizes_for_every_method(tmp_path: Path) -> None:
    start = llama_folder(tmp_path / "llama")
    word_level(["one two three"]).save_pretrained(start)
    refused(
        tmp_path, ModelRefusedError, r"tokenizer of 5 tokens, the teacher one of 48", small(student=str(start), methods=("cot",))
    )


def test_a_folder_with_too_few_heads_is_refused(tmp_path: Path) -> None:
    start = llama_folder(tmp_path / "llama")
    refused(tmp_path, ConfigError, "has 4 heads", small(student=str(start), phase1_heads=3, phase2_heads=2, layers=3))


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, TrainingError, "19 train documents", small(), left=19)
