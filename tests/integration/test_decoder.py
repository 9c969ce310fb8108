"""Train a decoder on real tables and a real index; kill it, take it up again, load it as anybody would."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from schemas.config import DecoderConfig, EmbedConfig, PipelineConfig
from schemas.errors import ConfigError, StorageError, TrainingError
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from tasks.decoders import task as decoders
from tasks.labels.embedder import hash_text
from tasks.labels.task import open_embedder
from tasks.sequences.generation import continue_greedily
from tests.support.given_tables import put
from tests.support.label_indexes import save_exact_index
from warehouse.decoder_store import (
    checkpoint_dir,
    decoder_dir,
    find_checkpoint,
    load_decoder_description,
    load_decoder_losses,
    save_checkpoint,
)
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table

WORDS = ["vim", "emacs", "gimp", "inkscape", "python", "ruby", "mutt", "sylpheed"]
TRAIN_COUNT, TEST_COUNT = 48, 6
EMBED = EmbedConfig()
SETTINGS = DecoderConfig(
    layers=2, d_model=16, heads=2, kv_heads=1, document_words=8, train_steps=10, batch_size=8, checkpoint_steps=4, device="cpu"
)


@dataclass(frozen=True)
class Stage:
    """What the task is given."""

    run: RunRef
    inputs: StageInputs

    def train(self, settings: DecoderConfig = SETTINGS) -> StageResult:
        return decoders.train_decoder.fn(self.run, self.inputs, settings, EMBED)

    def later(self, run_id: str) -> "Stage":
        return replace(self, run=self.run.model_copy(update={"run_id": run_id}))

    @property
    def folder(self) -> Path:
        return decoder_dir(self.run.root_path, self.run.run_id)


def documents() -> dict[str, str]:
    train = {f"train{i}": f"text about {WORDS[i % len(WORDS)]} number{i}" for i in range(TRAIN_COUNT)}
    return train | {f"test{i}": f"secret about {WORDS[i]} hidden{i}" for i in range(TEST_COUNT)}


def trace_rows() -> dict[str, list[dict[str, object]]]:
    """A trace of every document, also of test documents: its label is kept, the next dropped."""
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("core_traces", "core_shortlist", "core_steps", "core_answers")
    }
    for document in documents():
        number = int(document.removeprefix("train").removeprefix("test"))
        kept, other = number % len(WORDS), (number + 1) % len(WORDS)
        split = document.rstrip("0123456789")
        key: dict[str, object] = {"trace_id": f"t-{document}", "document_id": document}
        span: dict[str, object] = {"span_source": "completion_text", "char_start": 0, "char_end": 3}
        rows["core_traces"].append(key | {"variant": "both", "sample_index": 0, "split": split})
        said = [key | span | {"rank": n + 1, "label_id": one, "mention_text": WORDS[one]} for n, one in enumerate((kept, other))]
        rows["core_shortlist"] += said
        rows["core_answers"].append(said[0])
        step = key | span | {"position": 0.5, "phase": "refine"}
        rows["core_steps"] += [
            step | {"step": 0, "verdict": "keep", "step_text": "for the text", "target_label_id": kept},
            step | {"step": 1, "verdict": "drop", "step_text": "no", "target_label_id": kept, "near_miss_label_id": other},
        ]
    return rows


def tables(run: RunRef, left: set[str] | None = None) -> dict[str, TableRef]:
    """All tables; `left`: ids of the documents whose traces are there."""
    splits = {d: d.rstrip("0123456789") for d in documents()}
    texts: list[dict[str, object]] = [{"document_id": d, "split": splits[d], "document_text": t} for d, t in documents().items()]
    labels: list[dict[str, object]] = [
        {"label_id": i, "label_uid": f"u {w}", "label_name": f"{w}: a tool", "description_text": ""} for i, w in enumerate(WORDS)
    ]
    rows = {"core_documents": texts, "core_labels": labels, **trace_rows()}
    kept = {name: [r for r in some if left is None or name in ("core_documents", "core_labels") or r["document_id"] in left]
            for name, some in rows.items()}  # fmt: skip
    return {name: put(run, name, some) for name, some in kept.items()}


def make_stage(root: Path, left: set[str] | None = None) -> Stage:
    run = RunRef(root=str(root), run_id="r1", dataset="tiny", command="decoder", config=PipelineConfig())
    refs = tables(run, left)
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    save_exact_index(
        path, np.arange(len(WORDS), dtype=np.int32), np.eye(len(WORDS), dtype=np.float32), refs["core_labels"].content_hash
    )
    words = sorted({word for text in documents().values() for word in text.split()})
    vectors = np.random.default_rng(0).standard_normal((len(words), len(WORDS))).astype(np.float32)
    open_embedder(run, EMBED, EMBED.label_tokens).store.append([hash_text(word) for word in words], vectors)
    return Stage(run, StageInputs(tables=refs, artifacts={"label_index": artifact_ref(run, "index", "label_index", path)}))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products wait longer for a second thread than they take."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def weights(stage: Stage) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(stage.folder).state_dict())


def test_train_decoder_writes_a_folder_that_loads_and_generates_as_any_other(stage: Stage) -> None:
    result = stage.train()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(stage.folder), AutoTokenizer.from_pretrained(stage.folder)
    assert tokenizer.is_fast
    assert tokenizer("<document> about vim @u_vim <end> stranger")["input_ids"][-1] == tokenizer.unk_token_id
    assert tokenizer.decode(tokenizer("<document> about vim @u_vim")["input_ids"]) == "<document> about vim @u_vim"
    prompts = tokenizer(["<document> about vim", "<document>"])["input_ids"]
    assert [len(one) <= 5 for one in continue_greedily(model, prompts, 0, tokenizer.eos_token_id, 5, 2)] == [True, True]
    assert model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<end>")
    rows = read_table(result.tables[0])
    assert rows["train_step"].n_unique() == 10
    assert set(rows["system"]) == set(rows["component"]) == {"decoder"}
    assert result.cost.rows_in_count == TRAIN_COUNT
    assert "A stand-in" in (stage.folder / "README.md").read_text()


def test_train_decoder_sees_no_test_document(stage: Stage) -> None:
    stage.train()
    vocabulary = AutoTokenizer.from_pretrained(stage.folder).get_vocab()
    assert "about" in vocabulary
    assert not [word for word in vocabulary if word == "secret" or word.startswith("hidden")]
    description = load_decoder_description(stage.folder)
    assert description.document_count + len(description.dev_document_ids) == TRAIN_COUNT
    assert all(document.startswith("train") for document in description.dev_document_ids)
    assert not [word for document in description.dev_document_ids if (word := documents()[document].split()[-1]) in vocabulary]
    assert json.loads((stage.folder / "decoder.json").read_text())["dev_losses"].keys() == {
        "shortlist_loss", "refine_loss", "answer_loss", "total_loss",
    }  # fmt: skip


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the training right after the checkpoint of a step is on disk."""

    def die(root: Path, run_id: str, fingerprint: str, state: dict[str, object]) -> None:
        save_checkpoint(root, run_id, fingerprint, state)
        if state["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(decoders, "save_checkpoint", die)


def resumed_at(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> int:
    """Train on; the first step that was trained."""
    steps: list[int] = []
    monkeypatch.setattr(decoders, "log_progress", lambda _: lambda done, total: steps.append(done - 1))
    stage.train()
    return steps[0]


@pytest.mark.parametrize("run_id", ["r1", "r2"])
def test_train_decoder_goes_on_after_a_kill_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    unbroken = make_stage(tmp_path / "unbroken")
    unbroken.train()
    killed = make_stage(tmp_path / "killed")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, 8)
        killed.train()
    assert not killed.folder.exists()
    resumed = killed.later(run_id)
    first = resumed_at(monkeypatch, resumed)
    assert first == 8
    expected, found = weights(unbroken), weights(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert load_decoder_losses(unbroken.folder).equals(load_decoder_losses(resumed.folder))
    assert not checkpoint_dir(tmp_path / "killed", run_id).exists()


@pytest.mark.parametrize("spoil", [lambda content: content[:-100], lambda _: b"garbage", lambda _: b""])
def test_train_decoder_takes_no_checkpoint_of_other_settings_or_a_damaged_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[bytes], bytes]
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, 4)
        stage.train()
    root, made_from = stage.run.root_path, decoders.fingerprint(stage.inputs, SETTINGS, EMBED)
    assert find_checkpoint(root, "r2", made_from)
    assert not find_checkpoint(root, "r2", decoders.fingerprint(stage.inputs, SETTINGS.model_copy(update={"layers": 3}), EMBED))
    state = checkpoint_dir(root, "r1") / "state.pt"
    state.write_bytes(spoil(state.read_bytes()))
    assert not find_checkpoint(root, "r2", made_from)
    assert resumed_at(monkeypatch, stage) == 0
    assert load_decoder_description(stage.folder).fingerprint == made_from


def test_train_decoder_reads_no_more_traces_than_it_can_see_once(stage: Stage) -> None:
    few = SETTINGS.model_copy(update={"train_steps": 3})
    stage.train(few)
    description = load_decoder_description(stage.folder)
    assert description.document_count == few.train_steps * few.batch_size == 24
    assert description.left_out_count == TRAIN_COUNT - 24 - len(description.dev_document_ids)


def test_train_decoder_makes_nothing_again_that_is_there_and_whole(stage: Stage) -> None:
    first = stage.train()
    made = (stage.folder / "model.safetensors").stat().st_mtime_ns
    assert stage.train().artifacts[0].content_hash == first.artifacts[0].content_hash
    assert (stage.folder / "model.safetensors").stat().st_mtime_ns == made
    (stage.folder / "tokenizer.json").unlink()
    with pytest.raises(StorageError, match=r"tokenizer\.json missing"):
        load_decoder_description(stage.folder)
    stage.train()
    assert (stage.folder / "tokenizer.json").exists()


def test_train_decoder_refuses_too_few_traces_and_writes_nothing(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {f"train{i}" for i in range(19)} | {f"test{i}" for i in range(TEST_COUNT)})
    with pytest.raises(TrainingError, match="19 train documents"):
        stage.train()
    assert not stage.folder.exists()


def test_train_decoder_refuses_a_device_that_is_not_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="cuda"):
        stage.train(SETTINGS.model_copy(update={"device": "cuda"}))
    shutil.rmtree(stage.folder, ignore_errors=True)
