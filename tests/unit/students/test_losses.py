import math

import pytest
import torch

from tasks.students.losses import listwise_loss, verdict_loss

ALL = torch.ones(2, 3, dtype=torch.bool)


def test_listwise_loss_is_zero_where_the_student_agrees() -> None:
    target = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.8, 0.0]])
    scores = torch.log(target) + torch.tensor([[3.0], [-1.0]])  # a constant a document changes nothing
    assert listwise_loss(scores, target, ALL).item() == pytest.approx(0.0, abs=1e-6)


def test_listwise_loss_is_the_divergence_by_hand() -> None:
    target = torch.tensor([[3.0, 1.0, 0.0]])  # scaled to 3/4 and 1/4
    loss = listwise_loss(torch.zeros(1, 3), target, ALL[:1])
    assert loss.item() == pytest.approx(0.75 * math.log(0.75 * 3) + 0.25 * math.log(0.25 * 3), rel=1e-6)


def test_listwise_loss_gives_masked_cells_no_gradient() -> None:
    scores = torch.tensor([[1.0, 2.0, 5.0]], requires_grad=True)
    is_candidate = torch.tensor([[True, True, False]])
    loss = listwise_loss(scores, torch.tensor([[1.0, 0.0, 0.0]]), is_candidate)
    torch.autograd.backward(loss)
    assert scores.grad is not None
    assert scores.grad[0, 2].item() == 0.0
    assert scores.grad[0, 1].item() == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-6)


def test_listwise_loss_leaves_documents_without_a_target_out_of_the_mean() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0], [4.0, 0.0, 1.0]], requires_grad=True)
    target = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    both = listwise_loss(scores, target, ALL)
    alone = listwise_loss(scores[:1], target[:1], ALL[:1])
    torch.autograd.backward(both)
    assert both.item() == pytest.approx(alone.item(), rel=1e-6)
    assert scores.grad is not None
    assert scores.grad[1].abs().max().item() == 0.0


def test_verdict_loss_is_zero_at_the_margin_it_asks_for() -> None:
    scores = torch.tensor([[math.log(9.0), 0.0, -7.0]])
    loss = verdict_loss(scores, torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]]), sure_frac=0.9)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_verdict_loss_pushes_a_dropped_label_below_a_kept_one() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    loss = verdict_loss(scores, torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]]))
    torch.autograd.backward(loss)
    assert scores.grad is not None
    kept, dropped, unnamed = scores.grad[0].tolist()
    assert kept < 0 < dropped
    assert unnamed == 0.0


def test_verdict_loss_averages_over_pairs_then_over_documents_with_pairs() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]])
    kept = torch.tensor([[True, False, False], [True, False, False], [False, False, False]])
    dropped = torch.tensor([[False, True, True], [False, True, False], [True, True, True]])
    near, far = (verdict_loss(torch.tensor([[0.0, d]]), kept[:1, :2], dropped[:1, :2]).item() for d in (1.0, 2.0))
    assert verdict_loss(scores, kept, dropped).item() == pytest.approx(((near + far) / 2 + near) / 2, rel=1e-6)


def test_losses_without_any_target_are_zero() -> None:
    nothing = torch.zeros(2, 3)
    assert listwise_loss(torch.randn(2, 3), nothing, ALL).item() == 0.0
    assert verdict_loss(torch.randn(2, 3), nothing > 0, ALL).item() == 0.0
