"""Patching while the decoder writes: exact where nothing changes, right where heads are known, the same in any batch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from schemas.config import HeadsConfig
from tasks.heads.corruption import Corruptor, PatchCase, Phase, patch_cases
from tasks.heads.generation import generate_block, judge, prompt_end
from tasks.heads.head_sets import HeadSet
from tasks.heads.patch_plan import Block
from tasks.labels.search import Vectors
from tasks.open_models.spoken import Meaning, SpokenForm, Written
from tasks.open_models.watching import Part, watch_heads
from tests.support.planted_decoder import COARSE_HEAD, END, FIRST_LABEL, PAD, TOPICS, planted_decoder, planted_sequence
from tests.support.tiny_decoders import FAMILIES, HEADS, LAYERS, VOCABULARY, tiny_decoder
from tests.support.token_sequences import token_sequence

EVERY = HeadSet("top", 0, tuple((layer, head) for layer in range(LAYERS) for head in range(HEADS)))
PHASES: tuple[Phase, ...] = ("shortlist", "refine")
TOKEN_VECTORS = np.random.default_rng(0).normal(size=(VOCABULARY, 5)).astype(np.float32)


def form(length: int = 4, stop: int = -9, mark_count: int = 1) -> SpokenForm:
    """Every token is a step, named by its number."""
    written: tuple[Written, ...] = ("shortlist", "refine", "whole")
    stops = dict.fromkeys(written, frozenset((stop,)))

    def read(_: Written, token_ids: Sequence[int]) -> list[str]:
        return [str(token) for token in token_ids]

    return SpokenForm(mark_count, stops, dict.fromkeys(written, length), read)


def random_vectors(texts: list[str]) -> Vectors:
    return TOKEN_VECTORS[[int(text) for text in texts]]


def random_cases(phase: Phase) -> list[PatchCase]:
    draw = np.random.default_rng(5)
    sequences = []
    for number in range(3):
        tokens = draw.permutation(np.arange(2, VOCABULARY)).tolist()
        refine = list(zip(tokens[20:23], tokens[30:33], strict=True))
        sequences.append(token_sequence(f"d{number}", tokens[: 5 + 2 * number], [1, 3], tokens[40:44], refine))
    return patch_cases(sequences, phase, Corruptor("swap", 0, 0))


def meaning_of(cases: Sequence[PatchCase]) -> Meaning:
    names = [case.sequence.document_id for case in cases]
    return Meaning(
        {name: TOKEN_VECTORS[at] for at, name in enumerate(names)}, dict.fromkeys(names, TOKEN_VECTORS[:3]), random_vectors
    )


def generated(family: str, cases: list[PatchCase], part: Part, batch_size: int = 8) -> pl.DataFrame:
    model = tiny_decoder(family)
    settings = HeadsConfig(patched_part=part, batch_size=batch_size)
    block = Block(cases[0].phase, 0, tuple(cases))
    found = generate_block(model, watch_heads(model), block, [EVERY], form(), meaning_of(cases), settings)
    return found.sort("document_id", "direction")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("part", ["pattern", "output"])
@pytest.mark.parametrize("family", FAMILIES)
def test_generate_block_patched_with_itself_writes_the_same(family: str, part: Part, phase: Phase) -> None:
    found = generated(family, [replace(case, corrupted_ids=case.sequence.token_ids) for case in random_cases(phase)], part)
    assert found.height == 6
    assert found["value"].to_list() == found["clean_value"].to_list() == found["corrupted_value"].to_list()


@pytest.mark.parametrize("family", FAMILIES)
def test_generate_block_writes_what_the_model_generates_by_itself(family: str) -> None:
    model, cases = tiny_decoder(family), random_cases("shortlist")
    found = generated(family, cases, "pattern").filter(direction="noise")
    for case, (name, value) in zip(cases, found.select("document_id", "clean_value").iter_rows(), strict=True):
        tokens = case.sequence.token_ids[: case.sequence.response_start + 1].tolist()
        start = len(tokens)
        for _ in range(4):
            tokens.append(greedy_next(model, tokens))
        (expected,) = judge(meaning_of(cases), "shortlist", [name], [[str(token) for token in tokens[start:]]])
        assert value == pytest.approx(expected, abs=1e-6)


def greedy_next(model, tokens: list[int]) -> int:  # type: ignore[no-untyped-def]  # any model
    import torch

    with torch.no_grad():
        return int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())


@pytest.mark.parametrize("phase", PHASES)
def test_generate_block_gives_the_same_however_documents_are_batched(phase: Phase) -> None:
    cases = random_cases(phase)
    alone, together = (generated("qwen3", cases, "output", size) for size in (1, 3))
    np.testing.assert_allclose(alone["value"].to_numpy(), together["value"].to_numpy(), atol=1e-6)
    assert (together["clean_value"] != together["corrupted_value"]).any()


def topic_vectors(texts: list[str]) -> Vectors:
    return np.eye(FIRST_LABEL + TOPICS, dtype=np.float32)[[int(text) for text in texts]]


def planted_means(heads: HeadSet, kv_heads: int) -> dict[str, tuple[float, float, float]]:
    """Share of the first generated labels that are of the document's topics: patched, clean, corrupted, by direction."""
    model = planted_decoder(kv_heads)
    cases = patch_cases([planted_sequence(seed) for seed in range(8)], "shortlist", Corruptor("swap", PAD, 0))
    kept = {
        case.sequence.document_id: topic_vectors(list(map(str, case.sequence.early_tokens[case.sequence.is_kept]))).sum(axis=0)
        for case in cases
    }
    block, settings = Block("shortlist", 0, tuple(cases)), HeadsConfig(patched_part="output", batch_size=3)
    meaning = Meaning(kept, {}, topic_vectors)
    found = generate_block(model, watch_heads(model), block, [heads], form(2, END), meaning, settings)
    means = found.group_by("direction").agg(pl.col("value", "clean_value", "corrupted_value").mean())
    return {direction: (value, clean, corrupted) for direction, value, clean, corrupted in means.iter_rows()}


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_generate_block_with_the_planted_head_patched_writes_the_other_runs_labels(kv_heads: int) -> None:
    found = planted_means(HeadSet("top", 0, ((0, COARSE_HEAD),)), kv_heads)
    value, clean, corrupted = found["denoise"]
    assert clean == 1.0
    assert corrupted < 0.7
    assert value == clean
    assert found["noise"][0] == corrupted


def test_generate_block_with_inert_heads_patched_writes_the_same() -> None:
    found = planted_means(HeadSet("low", 0, ((0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3))), 4)
    assert found["denoise"][0] == found["denoise"][2]
    assert found["noise"][0] == found["noise"][1]


def test_generate_block_takes_the_first_random_draws_only() -> None:
    model, cases = tiny_decoder("llama"), random_cases("refine")
    sets = [EVERY, *(HeadSet("random", draw, ((0, draw),)) for draw in range(3))]
    settings = HeadsConfig(generated_draws=1)
    block = Block("refine", 0, tuple(cases))
    found = generate_block(model, watch_heads(model), block, sets, form(1), meaning_of(cases), settings)
    assert set(found.select("head_set", "draw", "outcome_quantity").rows()) == {
        ("top", 0, "confusion"), ("random", 0, "confusion"),
    }  # fmt: skip


def test_judge_is_null_without_steps_or_near_misses() -> None:
    meaning = Meaning({"a": TOKEN_VECTORS[0], "b": TOKEN_VECTORS[1]}, {"b": TOKEN_VECTORS[:2]}, random_vectors)
    assert judge(meaning, "shortlist", ["a", "b"], [[], ["5"]])[0] is None
    by_hand = float(np.mean([TOKEN_VECTORS[5] @ TOKEN_VECTORS[0], TOKEN_VECTORS[5] @ TOKEN_VECTORS[1]]))
    assert judge(meaning, "refine", ["a", "b"], [["5"], ["5"]]) == [None, pytest.approx(by_hand)]


def test_prompt_end_takes_the_mark_of_the_phase() -> None:
    (first, *_), (second, *_) = random_cases("shortlist"), random_cases("refine")
    assert prompt_end(first, form()) == first.sequence.response_start + 1
    assert prompt_end(first, form(mark_count=0)) == first.sequence.response_start
    assert prompt_end(second, form()) == second.sequence.refine_start + 1
