"""Watched attention against the model's own: equal when off, equal per head when on, exact when a run is patched with itself."""

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertLMHeadModel, MistralConfig, MistralForCausalLM, PreTrainedModel

from schemas.errors import ModelRefusedError
from tasks.open_models.families import DecoderParts, final_states, find_parts, margin_gradients, margins
from tasks.open_models.watching import LayerRecord, Part, Patch, Source, explicit_attention, head_writes, recording, watch_heads
from tests.support.tiny_decoders import D_MODEL, FAMILIES, HEADS, LAYERS, VOCABULARY, tiny_decoder

ROWS = torch.tensor([[4, 9, 11], [3, 3, 10]])


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two sequences of twelve tokens; the second starts with three of padding."""
    tokens = torch.randint(1, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    return tokens, mask


def run(model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> Tensor:
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens, attention_mask=mask, position_ids=positions).logits
    return logits


def records(model: PreTrainedModel, parts: DecoderParts, tokens: Tensor, mask: Tensor) -> list[LayerRecord]:
    found: list[LayerRecord] = []
    with recording(parts, ROWS, found.append):
        run(model, tokens, mask)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_watch_heads_leaves_the_logits_as_they_are_to_the_bit(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    model.set_attn_implementation("sdpa")
    plain = run(model, tokens, mask)
    parts = watch_heads(model)
    assert torch.equal(run(model, tokens, mask), plain)
    records(model, parts, tokens, mask)
    assert torch.equal(run(model, tokens, mask), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_recording_changes_no_logit(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    plain = run(model, tokens, mask)
    with recording(parts, ROWS, lambda record: None):
        assert torch.equal(run(model, tokens, mask), plain)


def test_recording_some_layers_hands_over_these_only() -> None:
    model, (tokens, mask) = tiny_decoder("llama"), batch()
    found: list[LayerRecord] = []
    parts = watch_heads(model)
    with recording(parts, ROWS, found.append, {2}):
        run(model, tokens, mask)
    (record,) = found
    assert record.layer == 2
    assert torch.equal(record.attention, records(model, parts, tokens, mask)[2].attention)


@pytest.mark.parametrize("family", FAMILIES)
def test_recording_equals_the_attention_maps_of_the_eager_model(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    found = records(model, parts, tokens, mask)
    model.set_attn_implementation("eager")
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        maps = model(input_ids=tokens, attention_mask=mask, position_ids=positions, output_attentions=True).attentions
    assert [record.layer for record in found] == list(range(LAYERS))
    for record, whole in zip(found, maps, strict=True):
        for document in range(2):
            expected = whole[document][:, ROWS[document]]
            torch.testing.assert_close(record.attention[document], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_head_writes_and_bias_add_up_to_the_output_of_attention(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    outputs: list[Tensor] = []
    handles = [p.register_forward_hook(lambda _, __, output: outputs.append(output)) for p in parts.projections]
    found = records(model, parts, tokens, mask)
    for handle in handles:
        handle.remove()
    for record, output in zip(found, outputs, strict=True):
        bias = parts.write_bias(record.layer)
        total = head_writes(parts, record).sum(1) + (0 if bias is None else bias)
        expected = output.gather(1, ROWS[:, :, None].expand(-1, -1, D_MODEL))
        torch.testing.assert_close(total, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_later_token_changes_no_earlier_logit(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    watch_heads(model)
    changed = tokens.clone()
    changed[:, 8] = (changed[:, 8] + 1) % VOCABULARY
    before, after = run(model, tokens, mask), run(model, changed, mask)
    assert torch.equal(before[0, :8], after[0, :8])
    assert not torch.equal(before[0, 8:], after[0, 8:])


@pytest.mark.parametrize("family", FAMILIES)
def test_margin_gradients_equal_finite_differences(family: str) -> None:
    model = tiny_decoder(family).double()
    parts = find_parts(model)
    states = torch.randn(1, 2, D_MODEL, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pairs = torch.tensor([[[5, 9], [7, 2]]])
    margin, gradient = margin_gradients(parts, states, pairs)
    step = torch.zeros_like(states)
    step[0, 1, 3] = 1e-2  # norms compute in float32 whatever comes in, so smaller steps drown
    slope = (margins(parts, states + step, pairs) - margins(parts, states - step, pairs))[0, 1] / 2e-2
    torch.testing.assert_close(gradient[0, 1, 3], slope, atol=1e-4, rtol=1e-3)
    assert margin.shape == (1, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_margins_equal_differences_of_the_models_logits(family: str) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    pairs = torch.randint(0, VOCABULARY, (2, 3, 2), generator=torch.Generator().manual_seed(2))
    states: list[Tensor] = []
    with final_states(parts, ROWS, states.append):
        logits = run(model, tokens, mask)
    chosen = logits.gather(1, ROWS[:, :, None].expand(-1, -1, VOCABULARY)).gather(2, pairs)
    with torch.no_grad():
        found = margins(parts, states[0], pairs)
    torch.testing.assert_close(found, chosen[..., 0] - chosen[..., 1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("part", ["pattern", "output"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_patched_with_itself_is_the_same_to_the_bit(family: str, part: Part) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    source: Source = {}
    with explicit_attention(parts, ROWS, part, record=source):
        plain = run(model, tokens, mask)
    every = {layer: tuple(range(HEADS)) for layer in range(LAYERS)}
    with explicit_attention(parts, ROWS, part, Patch(every, source)):
        assert torch.equal(run(model, tokens, mask), plain)


@pytest.mark.parametrize("part", ["pattern", "output"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_patch_from_another_run_changes_its_rows_and_later_ones_only(family: str, part: Part) -> None:
    model, (tokens, mask) = tiny_decoder(family), batch()
    parts = watch_heads(model)
    source: Source = {}
    with explicit_attention(parts, ROWS, part, record=source):
        run(model, batch(seed=3)[0], mask)
    with explicit_attention(parts, ROWS, part):
        plain = run(model, tokens, mask)
    with explicit_attention(parts, ROWS, part, Patch({1: (2,)}, source)):
        patched = run(model, tokens, mask)
    assert torch.equal(patched[0, :4], plain[0, :4])
    assert not torch.equal(patched[0, 4:], plain[0, 4:])


def test_one_watch_at_a_time() -> None:
    model = tiny_decoder("llama")
    parts = watch_heads(model)
    second = recording(parts, ROWS, lambda record: None)
    with explicit_attention(parts, ROWS, "pattern"), pytest.raises(RuntimeError, match="one watch at a time"), second:
        pass


def test_find_parts_refuses_an_encoder() -> None:
    encoder = BertLMHeadModel(BertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
    with pytest.raises(ModelRefusedError, match="is_decoder is false"):
        find_parts(encoder)


def test_find_parts_refuses_what_is_no_decoder() -> None:
    with pytest.raises(ModelRefusedError, match=r"llama \(model\.layers\)"):
        find_parts(torch.nn.Module())


def test_recording_sees_only_the_keys_inside_a_sliding_window() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": D_MODEL, "intermediate_size": 40, "num_hidden_layers": LAYERS}
    config = MistralConfig(**sizes, num_attention_heads=HEADS, num_key_value_heads=2, sliding_window=4)  # type: ignore[arg-type]
    model = MistralForCausalLM(config)
    model.train(False)
    tokens, mask = batch()
    parts = watch_heads(model)
    found = records(model, parts, tokens, mask)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        maps = model(input_ids=tokens, attention_mask=mask, position_ids=positions, output_attentions=True).attentions
    assert found[0].seen[0, 0].sum(-1).tolist() == [4, 4, 4]
    assert found[0].seen[1, 0].sum(-1).tolist() == [1, 1, 4]
    for record, whole in zip(found, maps, strict=True):
        for document in range(2):
            torch.testing.assert_close(record.attention[document], whole[document][:, ROWS[document]], atol=1e-5, rtol=0)
