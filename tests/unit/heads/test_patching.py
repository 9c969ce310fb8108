"""Margins under patching: exact where nothing changes, right where heads are known, the same however documents are batched."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from schemas.config import HeadsConfig
from tasks.heads.corruption import Corruptor, PatchCase, Phase, patch_cases
from tasks.heads.head_sets import Head, HeadSet
from tasks.heads.patch_plan import Block
from tasks.heads.patching import patch_block
from tasks.open_models.families import DecoderParts, final_states, margins
from tasks.open_models.watching import Part, Patch, Source, explicit_attention, watch_heads
from tests.support.planted_decoder import COARSE_HEAD, PAD, REFINE_HEAD, planted_decoder, planted_sequence
from tests.support.planted_decoder import HEADS as PLANTED_HEADS
from tests.support.tiny_decoders import FAMILIES, HEADS, LAYERS, VOCABULARY, tiny_decoder
from tests.support.token_sequences import token_sequence

EVERY = HeadSet("top", 0, tuple((layer, head) for layer in range(LAYERS) for head in range(HEADS)))
SOME = HeadSet("top", 0, ((0, 1), (1, 0), (1, 2), (2, 3)))
PHASES: tuple[Phase, ...] = ("shortlist", "refine")


def random_cases(phase: Phase, count: int = 3) -> list[PatchCase]:
    """Documents of different lengths, so that batches are padded."""
    draw = np.random.default_rng(5)
    sequences = []
    for number in range(count):
        tokens = draw.permutation(np.arange(2, VOCABULARY)).tolist()
        length, steps = 5 + 2 * number, 2 + number % 3
        refine = list(zip(tokens[20 : 20 + steps], tokens[30 : 30 + steps], strict=True))
        sequences.append(token_sequence(f"d{number}", tokens[:length], [1, 3], tokens[40 : 43 + number], refine))
    return patch_cases(sequences, phase, Corruptor("swap", 0, 0))


def settings(part: Part = "pattern", batch_size: int = 8) -> HeadsConfig:
    return HeadsConfig(patched_part=part, batch_size=batch_size)


def block(cases: list[PatchCase]) -> Block:
    return Block(cases[0].phase, 0, tuple(cases))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("part", ["pattern", "output"])
@pytest.mark.parametrize("family", FAMILIES)
def test_patch_block_of_a_run_with_itself_changes_nothing(family: str, part: Part, phase: Phase) -> None:
    model = tiny_decoder(family)
    cases = [replace(case, corrupted_ids=case.sequence.token_ids) for case in random_cases(phase)]
    found = patch_block(model, watch_heads(model), block(cases), [EVERY], settings(part))
    assert found.height == 6
    assert found["value"].to_list() == found["clean_value"].to_list() == found["corrupted_value"].to_list()


def test_patch_block_of_a_run_with_itself_changes_nothing_in_half_precision() -> None:
    model = tiny_decoder("llama-grouped").bfloat16()
    cases = [replace(case, corrupted_ids=case.sequence.token_ids) for case in random_cases("shortlist")]
    found = patch_block(model, watch_heads(model), block(cases), [EVERY], settings())
    assert found["value"].to_list() == found["clean_value"].to_list()


@pytest.mark.parametrize("family", FAMILIES)
def test_patch_block_in_pieces_equals_whole_runs(family: str) -> None:
    model = tiny_decoder(family)
    parts = watch_heads(model)
    (case,) = random_cases("shortlist")[:1]
    found = patch_block(model, parts, block([case]), [SOME], settings("output")).filter(direction="denoise")
    rows = torch.from_numpy(case.rows)[None]
    source: Source = {}
    clean = whole_margin(model, parts, case, case.sequence.token_ids, rows, None, source)
    corrupted = whole_margin(model, parts, case, case.corrupted_ids, rows, None, {})
    patched = whole_margin(model, parts, case, case.corrupted_ids, rows, Patch(SOME.by_layer, source), {})
    assert found.select("value", "clean_value", "corrupted_value").row(0) == pytest.approx((patched, clean, corrupted), abs=2e-6)
    assert abs(patched - corrupted) > 2e-5


def whole_margin(
    model: torch.nn.Module,
    parts: DecoderParts,
    case: PatchCase,
    token_ids: np.ndarray,
    rows: torch.Tensor,
    patch: Patch | None,
    record: Source,
) -> float:
    states: list[torch.Tensor] = []
    with torch.no_grad(), explicit_attention(parts, rows, "output", patch, record), final_states(parts, rows, states.append):
        model(input_ids=torch.from_numpy(token_ids)[None])
    with torch.no_grad():
        found = margins(parts, states[0], torch.from_numpy(case.pairs)[None])[0]
    return float(found[torch.from_numpy(case.is_measured)].mean())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_patch_block_gives_the_same_however_documents_are_batched(family: str, phase: Phase) -> None:
    model = tiny_decoder(family)
    parts, cases = watch_heads(model), random_cases(phase, 4)
    heads = [HeadSet("top", 0, ((1, 0), (1, 2)))]
    alone, together = (
        patch_block(model, parts, block(cases), heads, settings("pattern", size)).sort("document_id", "direction")
        for size in (1, 4)
    )
    for column in ("value", "clean_value", "corrupted_value"):
        np.testing.assert_allclose(alone[column].to_numpy(), together[column].to_numpy(), atol=1e-4)


def test_denoising_the_output_of_every_head_restores_what_no_later_layer_reads_elsewhere() -> None:
    """In one layer all that a row takes from the document comes by its heads, so their clean outputs make the run clean."""
    model = tiny_decoder("llama")
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    every = HeadSet("top", 0, tuple((0, head) for head in range(HEADS)))
    found = patch_block(model, watch_heads(model), block(random_cases("shortlist")), [every], settings("output"))
    denoised = found.filter(direction="denoise")
    np.testing.assert_allclose(denoised["value"].to_numpy(), denoised["clean_value"].to_numpy(), atol=1e-5)
    assert (denoised["clean_value"] - denoised["corrupted_value"]).abs().min() > 1e-3  # type: ignore[operator]  # a number


def test_denoising_every_pattern_of_one_layer_mixes_corrupted_values_by_clean_patterns() -> None:
    """By hand for one layer: pattern of the clean run times values of the corrupted one, through projection, MLP and norm."""
    model = tiny_decoder("llama")
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    (case,) = random_cases("shortlist")[:1]
    every = HeadSet("top", 0, tuple((0, head) for head in range(HEADS)))
    parts = watch_heads(model)
    found = patch_block(model, parts, block([case]), [every], settings()).filter(direction="denoise")
    model.set_attn_implementation("eager")
    layer, rows = model.model.layers[0], torch.from_numpy(case.rows)
    clean, corrupted = (torch.from_numpy(ids)[None] for ids in (case.sequence.token_ids, case.corrupted_ids))
    with torch.no_grad():
        pattern = model(input_ids=clean, output_attentions=True).attentions[0][0, :, rows]
        state = model.model.embed_tokens(corrupted)
        values = layer.self_attn.v_proj(layer.input_layernorm(state))[0].view(state.shape[1], HEADS, -1)
        mixed = torch.einsum("hrt,thk->rhk", pattern, values).flatten(1)
        after = state[0, rows] + layer.self_attn.o_proj(mixed)
        final = after + layer.mlp(layer.post_attention_layernorm(after))
        expected = margins(parts, final[None], torch.from_numpy(case.pairs)[None])[0][torch.from_numpy(case.is_measured)].mean()
    assert found["value"].item() == pytest.approx(float(expected), abs=1e-5)
    assert abs(found["value"].item() - found["corrupted_value"].item()) > 1e-3


def planted_effects(phase: Phase, heads: list[Head], part: Part, kv_heads: int = PLANTED_HEADS) -> dict[str, float]:
    """By direction, how much of the distance between the planted decoder's two runs the patch goes."""
    model = planted_decoder(kv_heads)
    cases = patch_cases([planted_sequence(seed) for seed in range(12)], phase, Corruptor("swap", PAD, 0))
    found = patch_block(model, watch_heads(model), block(cases), [HeadSet("top", 0, tuple(heads))], settings(part))
    means = found.group_by("direction").agg(pl.col("value", "clean_value", "corrupted_value").mean())
    shares = {}
    for direction, value, clean, corrupted in means.iter_rows():
        assert clean - corrupted > 0.2
        shares[direction] = (value - corrupted if direction == "denoise" else clean - value) / (clean - corrupted)
    return shares


INERT = [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)]


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(
    ("phase", "heads", "part", "low", "high"),
    [
        ("shortlist", [(0, COARSE_HEAD)], "output", 0.99, 1.01),
        ("refine", [(1, REFINE_HEAD)], "pattern", 0.4, 0.9),
        ("refine", [(0, COARSE_HEAD), (1, REFINE_HEAD)], "output", 0.99, 1.01),
    ],
)
def test_patching_planted_heads_goes_the_distance_and_inert_heads_none(
    phase: Phase, heads: list[Head], part: Part, low: float, high: float, kv_heads: int
) -> None:
    planted, inert = (planted_effects(phase, some, part, kv_heads) for some in (heads, INERT))
    assert all(low < share < high for share in planted.values())
    assert inert == {"denoise": pytest.approx(0, abs=1e-3), "noise": pytest.approx(0, abs=1e-3)}


def test_patching_where_a_planted_head_looks_does_not_bring_back_what_is_no_longer_there() -> None:
    """Swapped anchors stand where the others stood: the coarse head's clean pattern reads the donor's words."""
    assert max(map(abs, planted_effects("shortlist", [(0, COARSE_HEAD)], "pattern").values())) < 1e-3
