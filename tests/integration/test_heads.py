"""The heads stage on real tables: planted heads are found and move the margin; bad input is refused; a killed run goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from schemas.config import HeadsConfig
from schemas.errors import ConfigError, EmptyTargetError, MissingTableError, ModelRefusedError
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.stages import STAGES
from tasks.checks.task import check_tables
from tasks.heads import task as stage
from tasks.open_models.task import locate_model
from tests.contract.test_imports import ROOT
from tests.support.planted_decoder import COARSE_HEAD, HEADS, REFINE_HEAD, planted_decoder
from tests.support.planted_stage import (
    DEV,
    EMBED,
    Rows,
    all_rows,
    planted_inputs,
    planted_run,
    publish_decoder,
    settings,
    tokenizer,
)
from tests.support.tiny_tokenizers import byte_level
from warehouse.parquet import read_table


def measure(run: RunRef, inputs: StageInputs) -> StageResult:
    return stage.measure_heads.fn(run, inputs, locate_model(run), run.config.heads, EMBED)


def tables(result: StageResult) -> dict[str, pl.DataFrame]:
    return {ref.table: read_table(ref) for ref in result.tables}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageInputs, dict[str, pl.DataFrame]]:
    """One finished run: its root, what it read and what it wrote."""
    root = tmp_path_factory.mktemp("heads")
    run = planted_run(root)
    inputs = planted_inputs(run)
    publish_decoder(run)
    return root, inputs, tables(measure(run, inputs))


Whole = tuple[Path, StageInputs, dict[str, pl.DataFrame]]


def test_the_stage_writes_every_table_it_declares(whole: Whole) -> None:
    assert set(whole[2]) == set(STAGES["heads"].writes)
    assert all(len(frame) for frame in whole[2].values())


def test_planted_heads_rank_first_on_development_documents_alone(whole: Whole) -> None:
    documents, scores = whole[2]["core_head_document_scores"], whole[2]["core_head_scores"]
    assert set(documents["document_id"]) == {f"dev{i}" for i in range(DEV)}
    assert scores["model"].unique().to_list() == ["decoder"]
    best = {name: scores.sort(name)["layer", "head"].row(-1) for name in ("coarse_score", "refine_score")}
    assert best == {"coarse_score": (0, COARSE_HEAD), "refine_score": (3, REFINE_HEAD)}


def test_patching_the_planted_refinement_head_moves_the_margin_and_low_ranked_ones_do_not(whole: Whole) -> None:
    effects = whole[2]["core_patch_effects"].filter(phase="refine", outcome_quantity="margin", head_count=1, draw=0)
    by_set = {(d, s): e for d, s, e in effects.select("direction", "head_set", "effect_frac").iter_rows()}
    assert by_set["denoise", "top"] > 0.25
    assert by_set["noise", "top"] > 0.25
    assert abs(by_set["denoise", "low"]) < 0.05
    assert abs(by_set["noise", "low"]) < 0.05


def test_what_is_patched_and_followed_is_of_test_documents(whole: Whole) -> None:
    assert all(name.startswith("test") for name in whole[2]["core_trajectories"]["document_id"])
    assert all(name.startswith("test") for name in whole[2]["core_attention_insets"]["document_id"])
    quantities = set(whole[2]["core_trajectories"]["quantity"])
    assert {"shortlist_attention_frac", "near_miss_attention_frac", "ov_helpfulness"} <= quantities


def test_verdicts_are_sentences_with_numbers_or_say_that_nothing_was_measured(whole: Whole) -> None:
    verdicts = whole[2]["out_verdicts"]
    assert verdicts["claim"].is_unique().all()
    assert {"early_heads_shortlist", "late_heads_refine", "ov_helpfulness_grows"} <= set(verdicts["claim"])
    assert verdicts.filter(pl.col("standing") != "not_measured")["difference"].null_count() == 0


def test_the_same_run_gives_the_same_tables(whole: Whole) -> None:
    root, inputs, first = whole
    again = tables(measure(planted_run(root, run_id="r2").model_copy(), inputs))
    for name in set(first) - {"out_verdicts"}:
        assert first[name].equals(again[name]), name


def counting(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    calls: list[int] = []
    real: Callable[..., pl.DataFrame] = getattr(stage, name)

    def counted(*args: object) -> pl.DataFrame:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(stage, name, counted)
    return calls


def test_other_patch_settings_take_the_stored_scores_and_other_score_settings_do_not(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, inputs, _ = whole
    scored, patched = counting(monkeypatch, "score_block"), counting(monkeypatch, "patch_block")
    measure(planted_run(root, settings(bins=(2,)), "r3"), inputs)
    assert not scored
    assert patched
    measure(planted_run(root, settings(seed=5), "r4"), inputs)
    assert scored


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.checks.task import check_tables
from tasks.heads import task as stage
from tasks.open_models.task import locate_model
from tests.support.planted_stage import EMBED, planted_inputs, planted_run, publish_decoder

run = planted_run(Path(sys.argv[1]))
inputs = planted_inputs(run)
publish_decoder(run)
stage.SCORE_BLOCK = 8
name, after = sys.argv[2], int(sys.argv[3])
real, calls = getattr(stage, name), []

def counted(*args):
    if len(calls) == after:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    return real(*args)

setattr(stage, name, counted)
stage.measure_heads.fn(run, inputs, locate_model(run), run.config.heads, EMBED)
"""


@pytest.mark.parametrize(("part", "after", "left"), [("score_block", 3, 2), ("generate_block", 1, 1)])
def test_a_killed_run_goes_on_after_its_last_block(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, after: int, left: int
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), part, str(after)], cwd=ROOT, env=dict(os.environ), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    run = planted_run(tmp_path)
    assert not (run.root_path / "runs" / run.run_id / "heads" / "core_head_scores.parquet").exists()
    monkeypatch.setattr(stage, "SCORE_BLOCK", 8)
    calls = counting(monkeypatch, part)
    found = tables(measure(run, planted_inputs(run)))
    assert len(calls) == left
    assert found["core_head_scores"].equals(whole[2]["core_head_scores"])
    assert found["core_patch_effects"].equals(whole[2]["core_patch_effects"])


def test_a_damaged_block_is_made_again(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    root, inputs, first = whole
    blocks = sorted((root / "cache" / "heads").rglob("scores-*.parquet"))
    for block in blocks:
        block.write_bytes(block.read_bytes()[:40])
    calls = counting(monkeypatch, "score_block")
    found = tables(measure(planted_run(root, run_id="r5"), inputs))
    assert len(calls) == 2
    assert found["core_head_scores"].equals(first["core_head_scores"])


def folder_settings(path: Path, **changes: object) -> HeadsConfig:
    return settings(
        model=str(path), prompt_text="Choose.\n{document}\nThink.\n", score_documents=12, patch_documents=4, **changes
    )


def gpt2(token_count: int, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(vocab_size=token_count, n_embd=16, n_head=2, n_layer=2, n_positions=1024))


def save_folder(path: Path) -> Path:
    texts = [str(row["completion_text"]) for row in all_rows()["raw_traces"]]
    encode = byte_level(texts)
    encode.save_pretrained(path)
    gpt2(len(encode)).save_pretrained(path)
    return path


def test_a_local_folder_is_measured_on_any_train_document(tmp_path: Path) -> None:
    run = planted_run(tmp_path, folder_settings(save_folder(tmp_path / "some-model"), bins=(1,)))
    found = tables(measure(run, planted_inputs(run)))
    assert found["core_head_scores"]["model"].unique().to_list() == ["some-model"]
    assert found["core_head_scores"]["refine_score"].null_count() == 0
    assert len(set(found["core_head_document_scores"]["document_id"])) == 12
    assert not any(name.startswith("test") for name in found["core_head_document_scores"]["document_id"])


def refused(root: Path, error: type[Exception], words: str, rows: Rows | None = None, heads: HeadsConfig | None = None) -> None:
    """The stage ends with this error, and wrote no table."""
    run = planted_run(root, heads)
    inputs = planted_inputs(run, rows)
    with pytest.raises(error, match=words):
        measure(run, inputs)
    assert not list((root / "runs").rglob("heads/*.parquet"))


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("config.json", "config.json missing"),
        ("model.safetensors", "weights .* missing"),
        ("tokenizer.json", "tokenizer.json missing"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(tmp_path: Path, left_out: str, words: str) -> None:
    folder = save_folder(tmp_path / "model")
    (folder / left_out).unlink()
    refused(tmp_path, ConfigError, words, heads=folder_settings(folder))


def test_no_folder_no_decoder_and_no_model_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, ConfigError, "there is no such folder", heads=folder_settings(tmp_path / "nowhere"))
    refused(tmp_path, MissingTableError, "run `ctd decoder planted` first")
    refused(tmp_path, ConfigError, "heads.model is null", heads=settings(model=None))


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    from transformers import OPTConfig, OPTForCausalLM

    folder = save_folder(tmp_path / "model")
    small = OPTConfig(
        vocab_size=500, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, word_embed_proj_dim=16
    )
    OPTForCausalLM(small).save_pretrained(folder)
    refused(tmp_path, ModelRefusedError, "OPTForCausalLM: its layers are not found", heads=folder_settings(folder))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "model")
    gpt2(50).save_pretrained(folder)
    refused(tmp_path, ModelRefusedError, "they do not belong together", heads=folder_settings(folder))


def test_traces_without_shortlist_and_refinement_are_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    rows = all_rows() | {"core_shortlist": []}
    refused(tmp_path, EmptyTargetError, "of 40 scored documents 0 have anchors and a shortlist", rows)


def test_one_document_is_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    rows = all_rows()
    rows["core_traces"] = [row for row in rows["core_traces"] if row["document_id"] == "dev0"]
    refused(tmp_path, EmptyTargetError, r"scored on 1 document", rows)


def test_no_train_document_is_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    rows = all_rows()
    rows["core_traces"] = [row for row in rows["core_traces"] if row["split"] == "test"]
    refused(tmp_path, EmptyTargetError, "no train document that the model was not trained on", rows)


def test_no_test_document_is_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    rows = all_rows()
    rows["core_traces"] = [row for row in rows["core_traces"] if row["split"] == "train"]
    refused(tmp_path, EmptyTargetError, "patching needs two documents", rows)


def test_a_model_whose_heads_are_all_masked_is_refused(tmp_path: Path) -> None:
    model = planted_decoder()
    for name, weight in model.named_parameters():
        if "o_proj" in name:
            torch.nn.init.zeros_(weight)
    publish_decoder(planted_run(tmp_path), model)
    refused(tmp_path, EmptyTargetError, "no head writes anything")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = planted_decoder()
    torch.nn.init.constant_(model.get_parameter("model.layers.1.self_attn.q_proj.weight"), float("nan"))
    publish_decoder(planted_run(tmp_path), model)
    refused(tmp_path, ModelRefusedError, "layer 1, head 0: what it does is not finite")


def test_too_large_a_bin_is_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    refused(tmp_path, ConfigError, "more than half of the model's 16", heads=settings(bins=(9,)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    publish_decoder(planted_run(tmp_path))
    refused(tmp_path, ConfigError, "heads.device = 'cuda'", heads=settings(device="cuda"))


def test_the_planted_tokenizer_has_a_token_for_every_row_of_the_planted_decoder() -> None:
    assert len(tokenizer()) == planted_decoder().config.vocab_size == 6 * HEADS * 2


def test_the_tables_pass_the_checks_between_stages(whole: Whole) -> None:
    root, inputs, _ = whole
    run = planted_run(root, run_id="r6")
    result = measure(run, inputs)
    assert check_tables.fn(run, "heads", result.tables, tuple(inputs.tables.values())) == result.tables
