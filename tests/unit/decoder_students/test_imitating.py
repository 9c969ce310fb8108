"""The losses on what a decoder's heads really do: nothing to learn from itself, and from another what can be learnt."""

import torch
from transformers import PreTrainedModel

from tasks.decoder_students.cached_signals import TeacherBatch, interaction_scale, read_batch, teacher_signals, teacher_slices
from tasks.decoder_students.losses import interaction_loss, reading_loss, write_loss
from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals, Weighted
from tasks.decoder_students.signals import PhaseHeads, find_signal_places, observe
from tasks.open_models.watching import watch_heads
from tasks.sequences.batches import pad
from tests.support.tiny_decoders import tiny_decoder
from tests.unit.heads.drawn_sequences import drawn_sequence

HEADS = PhaseHeads(((0, 1), (2, 3)), ((1, 2), (2, 0)))
SEQUENCES = [drawn_sequence(0, 4), drawn_sequence(1, 7), drawn_sequence(2, 3, anchor_count=5, refine_count=1)]
TERMS = ("reading", "write", "interaction")


def observed(model: PreTrainedModel) -> tuple[tuple[PhaseRows, PhaseSignals], tuple[PhaseRows, PhaseSignals]]:
    parts = watch_heads(model)
    batch = pad([one.token_ids for one in SEQUENCES], 0)
    where = find_signal_places(SEQUENCES, batch)

    def forward() -> None:
        parts.body(input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids)

    early, refine = observe(parts, where, HEADS, parts.token_rows, forward)
    return (where.phase1, early), (where.phase2, refine)


def cached(model: PreTrainedModel) -> tuple[TeacherBatch, tuple[torch.Tensor, ...]]:
    parts = watch_heads(model)
    arrays = teacher_signals(parts, SEQUENCES, HEADS, 0, 2)
    scales = tuple(torch.from_numpy(scale).float() for scale in interaction_scale(arrays))
    return read_batch(arrays, teacher_slices(parts, HEADS), HEADS, HEADS), scales


def losses(student: PhaseSignals, teacher: PhaseSignals, rows: PhaseRows, scale: torch.Tensor) -> dict[str, Weighted]:
    terms = (
        reading_loss(student, teacher, rows),
        write_loss(student.writes, teacher, rows),
        interaction_loss(student, teacher, rows, scale),
    )
    return dict(zip(TERMS, terms, strict=True))


def of_both_phases(student: PreTrainedModel, taught: TeacherBatch, scales: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    teachers = (taught.phase1, taught.phase2)
    for name, (rows, own), teacher, scale in zip(("p1", "p2"), observed(student), teachers, scales, strict=True):
        found |= {f"{name} {term}": loss.mean for term, loss in losses(own, teacher, rows, scale).items()}
    return found


def test_a_decoder_has_nothing_to_learn_from_itself() -> None:
    model = tiny_decoder("llama-grouped")
    for rows, own in observed(model):
        teacher = PhaseSignals(*(part.detach() for part in (own.reading, own.writes, own.mass, own.effect)))
        for loss in losses(own, teacher, rows, torch.ones(2)).values():
            assert loss.weight > 0
            assert loss.total.item() == 0.0


def test_what_the_cache_rounds_is_little_beside_another_decoder() -> None:
    teacher, other = tiny_decoder("llama-grouped"), tiny_decoder("llama-grouped", seed=1)
    taught, scales = cached(teacher)
    rounded, apart = of_both_phases(teacher, taught, scales), of_both_phases(other, taught, scales)
    assert all(rounded[name] < 1e-4 * apart[name] for name in apart)


def test_every_term_reaches_the_student_with_finite_gradients_and_can_be_learnt() -> None:
    taught, scales = cached(tiny_decoder("llama-grouped"))
    student = tiny_decoder("llama-grouped", seed=1)
    optimiser = torch.optim.Adam(student.parameters(), lr=5e-3)
    before = {name: value.item() for name, value in of_both_phases(student, taught, scales).items()}
    for _ in range(30):
        optimiser.zero_grad()
        now = of_both_phases(student, taught, scales)
        torch.autograd.backward(torch.stack([now[name] / before[name] for name in before]).sum())
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in student.parameters())
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
    after = of_both_phases(student, taught, scales)
    assert len(after) == 6
    assert {name: after[name].item() / before[name] < 0.6 for name in before} == dict.fromkeys(before, True)
