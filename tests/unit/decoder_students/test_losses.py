import math
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.decoder_students.losses import (
    LEAST_SHARE,
    distribution_loss,
    interaction_loss,
    interaction_weight,
    reading_loss,
    reading_weight,
    write_loss,
    write_weight,
)
from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals, Weighted

BATCH, HEADS, ROWS, KEYS, WIDTH = 3, 2, 4, 5, 6
SCALE = torch.tensor([0.5, 2.0], dtype=torch.float64)
Loss = Callable[[PhaseSignals, PhaseSignals, PhaseRows], Weighted]
LOSSES: dict[str, Loss] = {
    "reading": reading_loss,
    "write": lambda student, teacher, rows: write_loss(student.writes, teacher, rows),
    "interaction": lambda student, teacher, rows: interaction_loss(student, teacher, rows, SCALE),
}
WEIGHTS: dict[str, Callable[[PhaseSignals, PhaseRows], Tensor]] = {
    "reading": reading_weight,
    "write": write_weight,
    "interaction": lambda _, rows: interaction_weight(rows, SCALE),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def make_rows(seed: int = 0) -> PhaseRows:
    """Rows with a few keys; one without any, one that does not count, one document without a row."""
    drawn = torch.rand(BATCH, ROWS, KEYS, generator=torch.Generator().manual_seed(seed))
    is_key = drawn < 0.6
    is_key[:, :, 0] = True
    is_key[0, 1] = False
    is_row = torch.ones(BATCH, ROWS, dtype=torch.bool)
    is_row[0, 3] = False
    is_row[2] = False
    return PhaseRows(is_row, is_key)


def make_signals(rows: PhaseRows, seed: int, dtype: torch.dtype = torch.float64) -> PhaseSignals:
    generator = torch.Generator().manual_seed(seed)
    shape = (BATCH, HEADS, ROWS)
    scores = torch.randn(*shape, KEYS, generator=generator, dtype=dtype)
    keys = (rows.is_key & rows.is_row[..., None])[:, None]
    reading = torch.where(keys, scores.exp(), 0.0)
    reading = reading / reading.sum(-1, keepdim=True).clamp(min=1e-30)
    writes = torch.randn(*shape, WIDTH, generator=generator, dtype=dtype)
    mass, effect = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    return PhaseSignals(reading, writes, mass, effect)


def watched(signals: PhaseSignals) -> PhaseSignals:
    """The same as leaves that take gradients."""
    return PhaseSignals(*(getattr(signals, one.name).clone().requires_grad_() for one in fields(signals)))


def gradients(signals: PhaseSignals) -> list[Tensor]:
    leaves = [getattr(signals, one.name) for one in fields(signals)]
    return [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]


def backward(value: Tensor) -> None:
    torch.autograd.backward(value)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_loss_and_its_gradient_are_exactly_zero_where_student_and_teacher_agree(name: str, dtype: torch.dtype) -> None:
    rows = make_rows()
    teacher = make_signals(rows, 1, dtype)
    student = watched(teacher)
    loss = LOSSES[name](student, teacher, rows)
    backward(loss.mean)
    assert loss.weight > 0
    assert loss.total.item() == 0.0
    assert max(gradient.abs().max().item() for gradient in gradients(student)) == pytest.approx(0.0, abs=1e-6)


@every_loss
def test_every_loss_is_positive_where_they_differ(name: str) -> None:
    rows = make_rows()
    assert LOSSES[name](make_signals(rows, 1), make_signals(rows, 2), rows).mean > 0.05


@every_loss
def test_every_gradient_is_that_of_finite_differences(name: str) -> None:
    rows = make_rows()
    teacher, student = make_signals(rows, 1), make_signals(rows, 2)
    inside = replace(student, reading=student.reading + 0.01)  # off the edge of what a clamp lets through

    def of_leaves(*leaves: Tensor) -> Tensor:
        return LOSSES[name](PhaseSignals(*leaves), teacher, rows).mean

    leaves = [getattr(inside, one.name).clone().requires_grad_() for one in fields(inside)]
    assert torch.autograd.gradcheck(of_leaves, leaves)


@every_loss
def test_rows_and_keys_that_do_not_count_have_no_gradient_whatever_they_hold(name: str) -> None:
    rows = make_rows()
    teacher, drawn = make_signals(rows, 1), make_signals(rows, 2)
    expected = LOSSES[name](drawn, teacher, rows).mean
    keys = (rows.is_key & rows.is_row[..., None])[:, None].expand(-1, HEADS, -1, -1)
    is_row = rows.is_row[:, None].expand(-1, HEADS, -1)
    nan = torch.tensor(math.nan, dtype=torch.float64)

    def soiled(signals: PhaseSignals) -> PhaseSignals:
        reading, writes = torch.where(keys, signals.reading, nan), torch.where(is_row[..., None], signals.writes, nan)
        return PhaseSignals(reading, writes, *(torch.where(is_row, part, nan) for part in (signals.mass, signals.effect)))

    student = watched(soiled(drawn))
    loss = LOSSES[name](student, soiled(teacher), rows)
    backward(loss.mean)
    reading, writes, mass, effect = gradients(student)
    assert loss.mean == expected
    for gradient, counts in ((reading, keys), (writes, is_row), (mass, is_row), (effect, is_row)):
        assert gradient.isfinite().all()
        assert gradient[~counts].abs().max() == 0.0
    assert sum(gradient.abs().sum() for gradient in (reading, writes, mass, effect)) > 0


@every_loss
@pytest.mark.parametrize("lacking", ["keys and rows", "documents", "rows", "heads"])
def test_a_batch_of_nothing_has_no_weight_no_loss_and_no_gradient(name: str, lacking: str) -> None:
    rows = make_rows()
    teacher, student = make_signals(rows, 1), make_signals(rows, 2)
    scale = SCALE
    if lacking == "keys and rows":
        rows = PhaseRows(torch.zeros_like(rows.is_row), torch.zeros_like(rows.is_key))
    elif lacking == "documents":
        rows = PhaseRows(rows.is_row[:0], rows.is_key[:0])
        teacher, student = (PhaseSignals(*(getattr(s, f.name)[:0] for f in fields(s))) for s in (teacher, student))
    elif lacking == "rows":
        rows = PhaseRows(rows.is_row[:, :0], rows.is_key[:, :0])
        teacher, student = (PhaseSignals(*(getattr(s, f.name)[:, :, :0] for f in fields(s))) for s in (teacher, student))
    else:
        nobody = torch.zeros(0, dtype=torch.int64)
        teacher, student, scale = teacher.heads(nobody), student.heads(nobody), SCALE[:0]
    student = watched(student)
    loss = interaction_loss(student, teacher, rows, scale) if name == "interaction" else LOSSES[name](student, teacher, rows)
    backward(loss.mean)
    assert (loss.total.item(), loss.weight.item(), loss.mean.item()) == (0.0, 0.0, 0.0)
    assert all((gradient == 0).all() for gradient in gradients(student))


@every_loss
def test_parts_of_a_batch_add_up_to_the_whole(name: str) -> None:
    rows = make_rows()
    teacher, student = make_signals(rows, 1), make_signals(rows, 2)
    whole = LOSSES[name](student, teacher, rows)
    parts = []
    for at in range(BATCH):
        cut = slice(at, at + 1)
        mine, theirs = (PhaseSignals(*(getattr(s, f.name)[cut] for f in fields(s))) for s in (student, teacher))
        parts.append(LOSSES[name](mine, theirs, PhaseRows(rows.is_row[cut], rows.is_key[cut])))
    assert sum(part.total.item() for part in parts) == pytest.approx(whole.total.item(), rel=1e-12)
    assert sum(part.weight.item() for part in parts) == pytest.approx(whole.weight.item(), rel=1e-12)


@every_loss
def test_weights_are_known_without_the_student(name: str) -> None:
    rows = make_rows()
    teacher = make_signals(rows, 1)
    weights = [LOSSES[name](make_signals(rows, seed), teacher, rows).weight for seed in (2, 3)]
    assert weights == [WEIGHTS[name](teacher, rows)] * 2


def of_one_row(reading: list[float]) -> PhaseSignals:
    """One document, head and row."""
    one = torch.ones(1, 1, 1)
    return PhaseSignals(torch.tensor(reading)[None, None, None], torch.zeros(1, 1, 1, 2), one, one)


def one_row(keys: int) -> PhaseRows:
    return PhaseRows(torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, keys, dtype=torch.bool))


def test_reading_loss_is_the_divergence_by_hand() -> None:
    loss = reading_loss(of_one_row([0.5, 0.5, 0.0]), of_one_row([0.75, 0.25, 0.0]), one_row(3))
    assert loss.mean.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)


def test_reading_loss_is_a_mean_over_heads_and_rows_that_have_a_key() -> None:
    rows = make_rows()
    counted = int((rows.is_key.any(-1) & rows.is_row).sum())
    assert reading_weight(make_signals(rows, 1), rows) == HEADS * counted == HEADS * 6


def test_reading_loss_gives_a_row_no_weight_where_the_teachers_head_reads_none_of_the_keys() -> None:
    student = watched(of_one_row([0.5, 0.5]))
    loss = reading_loss(student, of_one_row([0.0, 0.0]), one_row(2))
    backward(loss.mean)
    assert loss.weight == 0
    assert gradients(student)[0].abs().max() == 0.0


def test_reading_loss_is_finite_where_the_student_reads_nothing_of_what_the_teacher_reads() -> None:
    student = watched(of_one_row([0.0, 1.0]))
    loss = reading_loss(student, of_one_row([1.0, 0.0]), one_row(2))
    backward(loss.mean)
    assert loss.mean.item() == pytest.approx(-math.log(LEAST_SHARE), rel=1e-5)
    assert gradients(student)[0].isfinite().all()


def test_reading_loss_moves_scores_by_the_difference_of_the_shares_however_small_they_are() -> None:
    scores = torch.tensor([0.0, 34.0], requires_grad=True)
    teacher = of_one_row([0.5, 0.5])
    student = replace(teacher, reading=scores.softmax(-1)[None, None, None])
    backward(reading_loss(student, teacher, one_row(2)).mean)
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([-0.5, 0.5], rel=1e-4)


@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=6))
def test_reading_loss_is_never_negative_though_a_cache_rounds(pairs: list[tuple[float, float]]) -> None:
    aimed, read = ([pair[side] for pair in pairs] for side in (0, 1))
    assert reading_loss(of_one_row(read), of_one_row(aimed), one_row(len(pairs))).total >= -1e-6


def written(writes: list[list[float]], effects: list[float]) -> PhaseSignals:
    """One document and head, a row each."""
    values = torch.tensor([[effects]])
    return PhaseSignals(torch.zeros(1, 1, len(effects), 1), torch.tensor([[writes]]), torch.ones_like(values), values)


def all_rows(count: int) -> PhaseRows:
    return PhaseRows(torch.ones(1, count, dtype=torch.bool), torch.ones(1, count, 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("write", "expected"), [([3.0, 0.0], 0.0), ([0.0, 2.0], 1.0), ([-1.0, 0.0], 2.0), ([1.0, 1.0], 1 - 1 / math.sqrt(2))]
)
def test_write_loss_is_one_minus_the_cosine_whatever_the_lengths(write: list[float], expected: float) -> None:
    loss = write_loss(torch.tensor([[[write]]]), written([[5.0, 0.0]], [1.0]), all_rows(1))
    assert loss.mean.item() == pytest.approx(expected, abs=1e-6)


def test_write_loss_weighs_rows_by_the_positive_effect_of_the_teacher() -> None:
    teacher = written([[1.0, 0.0]] * 3, [3.0, 1.0, -5.0])
    loss = write_loss(torch.tensor([[[[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]]]), teacher, all_rows(3))
    assert loss.weight == 4.0
    assert loss.mean.item() == pytest.approx(0.75)


def test_write_loss_of_a_student_that_writes_nothing_is_one_without_gradient() -> None:
    writes = torch.zeros(1, 1, 1, 2, requires_grad=True)
    loss = write_loss(writes, written([[1.0, 0.0]], [2.0]), all_rows(1))
    backward(loss.mean)
    assert loss.mean == 1.0
    assert writes.grad is not None
    assert writes.grad.tolist() == [[[[0.0, 0.0]]]]


def test_write_loss_gives_a_teacher_that_writes_nothing_no_weight() -> None:
    writes = torch.ones(1, 1, 1, 2, requires_grad=True)
    loss = write_loss(writes, written([[0.0, 0.0]], [2.0]), all_rows(1))
    backward(loss.mean)
    assert (loss.total.item(), loss.weight.item()) == (0.0, 0.0)
    assert writes.grad is not None
    assert writes.grad.abs().max() == 0.0


def test_interaction_loss_is_a_pseudo_huber_of_the_difference_in_units_of_the_scale() -> None:
    student, teacher = written([[0.0, 0.0]] * 2, [0.5, 3.0]), written([[0.0, 0.0]] * 2, [2.0, -1.0])
    loss = interaction_loss(student, teacher, all_rows(2), torch.tensor([2.0]))
    assert loss.mean.item() == pytest.approx((math.sqrt(1 + 0.75**2) - 1) + (math.sqrt(1 + 2.0**2) - 1))


def test_interaction_loss_is_a_square_near_the_teacher_and_a_line_far_from_it() -> None:
    teacher = written([[0.0, 0.0]], [0.0])
    near, far = (interaction_loss(written([[0.0, 0.0]], [at]), teacher, all_rows(1), torch.ones(1)).mean for at in (1e-3, 1e3))
    assert near.item() == pytest.approx(1e-6, rel=1e-3)
    assert far.item() == pytest.approx(2e3, rel=2e-3)


def test_interaction_loss_is_at_most_one_for_a_student_that_never_interacts() -> None:
    rows = make_rows()
    teacher = make_signals(rows, 1)
    counts = (rows.is_key.any(-1) & rows.is_row)[:, None]
    squares = torch.where(counts, teacher.interaction.square(), 0.0).sum((0, 2))
    silent = PhaseSignals(*(torch.zeros_like(getattr(teacher, one.name)) for one in fields(teacher)))
    loss = interaction_loss(silent, teacher, rows, (squares / counts.sum()).sqrt())
    assert 0.5 < loss.mean.item() <= 1.0


def test_interaction_loss_leaves_out_heads_that_have_no_scale() -> None:
    rows = make_rows()
    student, teacher = watched(make_signals(rows, 1)), make_signals(rows, 2)
    loss = interaction_loss(student, teacher, rows, torch.tensor([0.5, 0.0], dtype=torch.float64))
    backward(loss.mean)
    first = torch.tensor([0])
    alone = interaction_loss(student.heads(first), teacher.heads(first), rows, SCALE[:1])
    assert (loss.total.item(), loss.weight.item()) == (alone.total.item(), alone.weight.item())
    assert gradients(student)[2][:, 1].abs().max() == 0.0


def test_distribution_loss_without_targets_is_zero() -> None:
    logits = torch.zeros(0, 7, requires_grad=True)
    loss = distribution_loss(logits, torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3))
    backward(loss.mean)
    assert (loss.mean.item(), loss.weight.item()) == (0.0, 0.0)


def test_distribution_loss_is_a_mean_over_targets() -> None:
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    ids, log_probs = torch.tensor([[0, 3], [2, 1]]), torch.tensor([[-0.5, -1.0], [-0.1, -4.0]])
    both = distribution_loss(logits, ids, log_probs)
    apart = [distribution_loss(logits[at : at + 1], ids[at : at + 1], log_probs[at : at + 1]) for at in range(2)]
    assert both.weight == 2
    assert both.mean.item() == pytest.approx(sum(one.mean.item() for one in apart) / 2, rel=1e-6)


def test_distribution_loss_is_zero_where_the_student_agrees_on_the_teachers_tokens() -> None:
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    top = logits.detach().log_softmax(-1).topk(3)
    loss = distribution_loss(logits, top.indices, top.values)
    backward(loss.mean)
    assert loss.mean.item() == pytest.approx(0.0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max().item() == pytest.approx(0.0, abs=1e-6)


def test_distribution_loss_is_the_divergence_by_hand_over_tokens_scaled_to_one() -> None:
    student = torch.tensor([[0.2, 0.2, 0.6]]).log()
    loss = distribution_loss(student, torch.tensor([[1, 0]]), torch.tensor([[0.6, 0.2]]).log())
    assert loss.mean.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


def test_distribution_loss_gives_other_tokens_no_gradient() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    backward(distribution_loss(logits, torch.tensor([[3, 1]]), torch.tensor([[-0.1, -3.0]])).mean)
    assert logits.grad is not None
    assert logits.grad[0, [0, 2]].tolist() == [0.0, 0.0]
    assert logits.grad[0, 3] < 0 < logits.grad[0, 1]


def test_distribution_loss_gives_a_token_that_the_teacher_excludes_no_share() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    loss = distribution_loss(logits, torch.tensor([[0, 1]]), torch.tensor([[-0.5, -math.inf]]))
    backward(loss.mean)
    assert loss.mean.item() == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_distribution_loss_has_the_gradient_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    top = torch.randn(3, 6, generator=generator, dtype=torch.float64).log_softmax(-1).topk(3)
    assert torch.autograd.gradcheck(lambda x: distribution_loss(x, top.indices, top.values).mean, [logits])


def test_distribution_loss_is_summed_in_float32_when_the_model_is_in_half() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 50, generator=generator).bfloat16()
    top = torch.randn(200, 50, generator=generator).log_softmax(-1).topk(4)
    half, whole = (distribution_loss(one, top.indices, top.values).mean.item() for one in (logits, logits.float()))
    assert half == pytest.approx(whole, rel=1e-6)
