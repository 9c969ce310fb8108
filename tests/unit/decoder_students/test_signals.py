"""Signals against the head scores they are the parts of; gradients; padding; what is cached against what is observed."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from schemas.config import DecoderConfig
from schemas.errors import ModelRefusedError
from tasks.decoder_students.cached_signals import (
    TeacherBatch,
    hash_sequences,
    interaction_scale,
    read_batch,
    teacher_signals,
    teacher_slices,
    trace_rows,
)
from tasks.decoder_students.phase_signals import PhaseSignals
from tasks.decoder_students.signals import PhaseHeads, find_signal_places, observe
from tasks.open_models.factorised import FactorisedDecoder, materialise, new_decoder
from tasks.open_models.families import TokenRows
from tasks.open_models.scores import measure_rows
from tasks.open_models.watching import watch_heads
from tasks.sequences.batches import Side, pad
from tasks.sequences.tokens import TokenSequence
from tests.support.tiny_decoders import VOCABULARY, tiny_decoder
from tests.unit.heads.drawn_sequences import drawn_sequence

HEADS = PhaseHeads(((0, 1), (2, 3), (0, 0)), ((1, 2), (2, 0)))
SEQUENCES = [drawn_sequence(0, 4), drawn_sequence(1, 7), drawn_sequence(2, 3, anchor_count=5, refine_count=1)]
Both = tuple[PhaseSignals, PhaseSignals]


def observed(model: PreTrainedModel, sequences: list[TokenSequence], side: Side = "right", heads: PhaseHeads = HEADS) -> Both:
    parts = watch_heads(model)
    batch = pad([one.token_ids for one in sequences], 0, side)

    def forward() -> None:
        parts.body(input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids)

    return observe(parts, find_signal_places(sequences, batch), heads, parts.token_rows, forward)


def small_student() -> FactorisedDecoder:
    settings = DecoderConfig(layers=2, d_model=32, heads=4, kv_heads=2)
    torch.manual_seed(0)
    student = new_decoder(settings, torch.randn(VOCABULARY, 12), 64)
    for weight in student.parameters():
        weight.data.mul_(5.0)
    return student


def own_rows(student: FactorisedDecoder) -> TokenRows:
    return lambda ids: student.table()[ids]


def student_signals(student: FactorisedDecoder, heads: PhaseHeads) -> Both:
    batch = pad([one.token_ids for one in SEQUENCES], 0)
    where = find_signal_places(SEQUENCES, batch)
    rows = torch.arange(batch.token_ids.numel())
    return observe(watch_heads(student.body), where, heads, own_rows(student), lambda: student(batch.token_ids, rows))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["llama-grouped", "gpt2"])
def test_signals_are_the_parts_of_the_head_scores(family: str, side: Side) -> None:
    model = tiny_decoder(family)
    phase1, phase2 = observed(model, SEQUENCES, side)
    batch = pad([one.token_ids for one in SEQUENCES], 0, side)
    scored = measure_rows(watch_heads(model), SEQUENCES, batch)
    refinement = scored.kept_attention - scored.dropped_attention
    pairs = (
        (phase1.effect, scored.alignment, HEADS.early),
        (phase2.mass, refinement, HEADS.refine),
        (phase2.effect, scored.helpfulness, HEADS.refine),
    )
    for found, expected, heads in pairs:
        for place, (layer, head) in enumerate(heads):
            wanted = np.nan_to_num(expected[:, layer, head])
            np.testing.assert_allclose(found[:, place].detach().numpy(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2"])
def test_readings_are_the_models_own_attention(family: str) -> None:
    model, one = tiny_decoder(family), SEQUENCES[1]
    phase1, phase2 = observed(model, [one])
    model.set_attn_implementation("eager")
    maps = model(torch.from_numpy(one.token_ids)[None], output_attentions=True).attentions
    on_document = maps[2][0, 3][one.early_rows][:, one.document]
    torch.testing.assert_close(phase1.reading[0, 1], on_document / on_document.sum(-1, keepdim=True))
    is_anchor = torch.from_numpy(np.isin(one.document, one.anchors))
    torch.testing.assert_close(phase1.mass[0, 1], on_document[:, is_anchor].sum(-1))
    spans = torch.stack([maps[1][0, 2][one.refine_rows][:, span].sum(-1) for span in one.candidate_spans], dim=1)
    torch.testing.assert_close(phase2.reading[0, 0], spans / spans.sum(-1, keepdim=True))


def test_readings_sum_to_one_over_the_keys_of_rows_that_count() -> None:
    batch = pad([one.token_ids for one in SEQUENCES], 0)
    where = find_signal_places(SEQUENCES, batch)
    for signals, rows in zip(observed(tiny_decoder("gpt2"), SEQUENCES), (where.phase1, where.phase2), strict=True):
        sums = rows.is_row.float()[:, None].expand(-1, signals.reading.shape[1], -1)
        torch.testing.assert_close(signals.reading.sum(-1), sums)
        assert not signals.reading[~rows.is_key[:, None].expand_as(signals.reading)].any()


def test_rows_count_where_everything_is_defined() -> None:
    none = np.array([], dtype=np.int64)
    sequences = [replace(SEQUENCES[0], anchors=none), replace(SEQUENCES[1], is_kept=np.full(7, True)), SEQUENCES[2]]
    where = find_signal_places(sequences, pad([one.token_ids for one in sequences], 0))
    assert where.phase1.is_row.any(1).tolist() == [False, True, True]
    assert where.phase2.is_row.any(1).tolist() == [True, False, True]
    for signals in observed(tiny_decoder("gpt2"), sequences):
        assert all(torch.isfinite(getattr(signals, field.name)).all() for field in fields(signals))


def test_a_documents_signals_do_not_hang_on_its_batch() -> None:
    model = tiny_decoder("llama-grouped")
    for together, alone in zip(observed(model, SEQUENCES, "left"), observed(model, SEQUENCES[2:]), strict=True):
        for field in fields(alone):
            one, own = getattr(alone, field.name)[0], getattr(together, field.name)[2]
            torch.testing.assert_close(own[tuple(map(slice, one.shape))], one, atol=1e-5, rtol=1e-4)


def test_a_phase_without_heads_is_empty() -> None:
    phase1, phase2 = observed(tiny_decoder("gpt2"), SEQUENCES, heads=PhaseHeads((), HEADS.refine))
    assert phase1.reading.shape == (3, 0, 7, 8)
    assert phase1.interaction.shape == (3, 0, 7)
    assert phase2.interaction.abs().sum() > 0


def test_a_factorised_student_has_the_signals_of_the_plain_llama_it_is() -> None:
    student = small_student()
    heads = PhaseHeads(((0, 2), (1, 1)), ((1, 3), (0, 0)))
    for own, plain in zip(student_signals(student, heads), observed(materialise(student), SEQUENCES, heads=heads), strict=True):
        for field in fields(own):
            torch.testing.assert_close(getattr(own, field.name), getattr(plain, field.name), atol=1e-5, rtol=1e-4)


Value = Callable[[PhaseSignals, PhaseSignals], Tensor]
VALUES: dict[str, Value] = {
    "reading": lambda one, _: one.reading[..., 0].sum(),
    "writes": lambda one, _: one.writes.square().sum(),
    "interaction1": lambda one, _: one.interaction.sum(),
    "loop": lambda _, two: two.mass.sum(),
    "interaction2": lambda _, two: two.interaction.sum(),
    "effect2": lambda _, two: two.effect.sum(),
}


@pytest.mark.parametrize("name", VALUES)
def test_gradients_reach_the_chosen_heads_and_what_stands_below_them_only(name: str) -> None:
    student = small_student()
    torch.autograd.backward(VALUES[name](*student_signals(student, PhaseHeads(((0, 1),), ((0, 1),)))))
    chosen, d_head = student.body.model.layers[0].self_attn, 8
    queries, writes = chosen.q_proj.weight.grad, chosen.o_proj.weight.grad
    assert queries is not None
    assert queries[d_head : 2 * d_head].abs().sum() > 0
    assert not queries[:d_head].any()
    assert not queries[2 * d_head :].any()
    reads_only = name in ("reading", "loop")
    assert (writes is None) == reads_only
    if writes is not None:
        assert writes[:, d_head : 2 * d_head].abs().sum() > 0
        assert not writes[:, :d_head].any()
        assert not writes[:, 2 * d_head :].any()
    above = [*student.body.model.layers[1].parameters(), *student.body.model.norm.parameters()]
    assert all(weight.grad is None or not weight.grad.any() for weight in above)


def test_the_margins_gradient_is_a_constant() -> None:
    student = small_student()
    _, phase2 = student_signals(student, PhaseHeads((), ((1, 1),)))
    (found,) = torch.autograd.grad(phase2.effect.sum(), student.body.model.norm.weight, allow_unused=True)
    assert found is None


def test_nothing_has_a_gradient_where_none_is_enabled() -> None:
    with torch.no_grad():
        signals = observed(tiny_decoder("gpt2"), SEQUENCES)
    assert not any(getattr(one, field.name).requires_grad for one in signals for field in fields(one))


def cached(model: PreTrainedModel, asked: PhaseHeads = HEADS, top: int = 5, batch_size: int = 2) -> TeacherBatch:
    parts = watch_heads(model)
    documents = teacher_signals(parts, SEQUENCES, HEADS, 0, batch_size, top)
    return read_batch(documents, teacher_slices(parts, HEADS), HEADS, asked)


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2"])
def test_a_student_that_is_the_teacher_has_the_cached_signals(family: str) -> None:
    model = tiny_decoder(family)
    found = cached(model)
    where = find_signal_places(SEQUENCES, pad([one.token_ids for one in SEQUENCES], 0))
    for rows, expected_rows in ((found.rows1, where.phase1), (found.rows2, where.phase2)):
        assert torch.equal(rows.is_row, expected_rows.is_row)
        assert torch.equal(rows.is_key, expected_rows.is_key)
    for own, expected in zip((found.phase1, found.phase2), observed(model, SEQUENCES), strict=True):
        for field, tolerance in (("reading", 1e-3), ("writes", 5e-3), ("mass", 1e-5), ("effect", 1e-5)):
            wanted = getattr(expected, field).detach()
            torch.testing.assert_close(getattr(own, field), wanted, atol=tolerance, rtol=tolerance)


def test_heads_are_read_in_the_order_asked_for() -> None:
    whole, some = (cached(tiny_decoder("gpt2"), asked) for asked in (HEADS, PhaseHeads(((0, 0), (0, 1)), ((2, 0),))))
    assert torch.equal(some.phase1.writes, whole.phase1.writes[:, [2, 0]])
    assert torch.equal(some.phase2.reading, whole.phase2.reading[:, [1]])


def test_what_is_cached_of_a_document_does_not_hang_on_the_batches() -> None:
    one, other = (cached(tiny_decoder("gpt2"), batch_size=size) for size in (1, 3))
    torch.testing.assert_close(one.phase2.effect, other.phase2.effect, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.phase1.reading, other.phase1.reading, atol=1e-3, rtol=1e-3)


def test_likeliest_tokens_are_those_of_the_models_logits() -> None:
    model = tiny_decoder("llama")
    found = cached(model).likeliest
    assert found is not None
    one, count = SEQUENCES[2], len(trace_rows(SEQUENCES[2]))
    assert found.is_row.sum(1).tolist() == [len(trace_rows(sequence)) for sequence in SEQUENCES]
    assert one.token_ids[found.rows[2, :count] + 1].tolist() == one.token_ids[one.response_start :].tolist()
    with torch.no_grad():
        expected = model(torch.from_numpy(one.token_ids)[None]).logits[0, found.rows[2, :count]].log_softmax(-1).topk(5)
    assert torch.equal(found.token_ids[2, :count], expected.indices)
    torch.testing.assert_close(found.log_probs[2, :count], expected.values, atol=1e-2, rtol=1e-3)


def test_without_likeliest_tokens_none_are_kept() -> None:
    assert cached(tiny_decoder("gpt2"), top=0).likeliest is None


def test_likeliest_tokens_are_kept_without_any_head() -> None:
    none = PhaseHeads((), ())
    parts = watch_heads(tiny_decoder("gpt2"))
    documents = teacher_signals(parts, SEQUENCES, none, 0, 2, 5)
    found = read_batch(documents, teacher_slices(parts, none), none, none)
    assert found.phase1.writes.shape == (3, 0, 7, 24)
    assert found.likeliest is not None
    assert found.likeliest.is_row.sum() == sum(len(trace_rows(one)) for one in SEQUENCES)


def test_interaction_scale_is_the_root_mean_square_over_rows_that_count() -> None:
    model = tiny_decoder("gpt2")
    parts = watch_heads(model)
    scales = interaction_scale(teacher_signals(parts, SEQUENCES, HEADS, 0, 3))
    batch = cached(model)
    for scale, signals, rows in zip(scales, (batch.phase1, batch.phase2), (batch.rows1, batch.rows2), strict=True):
        expected = (signals.interaction.square().sum((0, 2)) / rows.is_row.sum()).sqrt()
        np.testing.assert_allclose(scale, expected.numpy(), rtol=1e-4)


def test_a_teacher_that_is_not_finite_is_refused() -> None:
    model = tiny_decoder("gpt2")
    model.get_parameter("transformer.h.1.attn.c_attn.bias").data[-1] = float("nan")
    with pytest.raises(ModelRefusedError, match="not finite"):
        cached(model)


@pytest.mark.parametrize("field", ["token_ids", "anchors", "early_rows", "refine_rows", "margin_tokens", "is_kept"])
def test_sequences_with_another_place_have_another_hash(field: str) -> None:
    one = SEQUENCES[0]
    values = getattr(one, field)
    other = replace(one, **{field: ~values if values.dtype == bool else values + 1})
    assert hash_sequences([one]) == hash_sequences([replace(one)])
    assert hash_sequences([one]) != hash_sequences([other])
