"""A training in parts, broken off and taken up is the one in one piece; it stops when nothing improves, and says what broke."""

import math

import pytest
import torch

from schemas.errors import TrainingError
from schemas.student_settings import DECODER_METHODS, DecoderMethod
from tasks.decoder_students.imitation import Tutor
from tasks.decoder_students.machine import prepare_accelerate
from tasks.decoder_students.training import State
from tests.support.tiny_decoders import tiny_decoder
from tests.unit.decoder_students.taught import SETTINGS, distance, trained, training


@pytest.mark.parametrize("method", ["cot", "mechanistic-kd"])
def test_eight_parts_of_one_document_train_as_one_of_eight(method: DecoderMethod) -> None:
    whole, _ = trained(method)
    parts, _ = trained(method, SETTINGS.model_copy(update={"accumulation": 8}))
    assert distance(whole, parts) < 1e-6
    assert distance(whole, training(method)) > 1e-3
    for one, other in zip(whole.progress.losses, parts.progress.losses, strict=True):
        assert (one.train_step, one.loss_name) == (other.train_step, other.loss_name)
        assert one.loss_nats == pytest.approx(other.loss_nats, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_training_taken_up_is_the_unbroken_one_to_the_bit(stop: int) -> None:
    whole, kept = trained()
    later = training(student=tiny_decoder("llama", 9))
    later.take_up(kept[stop])
    again: list[State] = []
    later.run(again.append)
    assert all(torch.equal(one, two) for one, two in zip(whole.own + whole.extra, later.own + later.extra, strict=True))
    assert whole.progress.losses == later.progress.losses
    assert isinstance(whole.guide, Tutor)
    assert isinstance(later.guide, Tutor)
    assert whole.guide.matches == later.guide.matches
    assert len(again) == len(kept) - stop - 1


def test_heads_are_imitated_from_the_matching_on_and_maps_are_trained() -> None:
    made, _ = trained("mechanistic")
    by_step: dict[int, set[str]] = {}
    for loss in made.progress.losses:
        by_step.setdefault(loss.train_step, set()).add(loss.loss_name)
    assert not any("p1" in name or "p2" in name for name in by_step[0] | by_step[1])
    assert {"p1_attention_loss", "p1_write_loss", "p2_loop_loss", "p2_interaction_loss"} <= by_step[2]
    before = training("mechanistic").extra
    assert all(not torch.equal(one, two) for one, two in zip(before, made.extra, strict=True))


def test_until_the_matching_a_mechanistic_student_is_that_of_cot() -> None:
    short = SETTINGS.model_copy(update={"match_frac": 1.0})
    assert distance(trained("mechanistic", short)[0], trained("cot", short)[0]) == 0


@pytest.mark.parametrize("method", [one for one in DECODER_METHODS if one != "answers"])
def test_every_method_trains_its_terms_with_finite_losses(method: DecoderMethod) -> None:
    made, _ = trained(method, SETTINGS.model_copy(update={"train_steps": 3}))
    last = {loss.loss_name: loss.loss_nats for loss in made.progress.losses if loss.train_step == 2}
    assert set(made.guide.weights()) == {name for name in last if name.startswith(("p1", "p2", "distribution"))}
    expected = last["token_loss"] + sum(weight * last[name] for name, weight in made.guide.weights().items())
    assert last["total_loss"] == pytest.approx(expected)


def test_training_stops_when_development_losses_no_longer_fall_and_has_the_best_weights() -> None:
    settings = SETTINGS.model_copy(update={"patience": 1, "learning_rate": 0.5, "train_steps": 40})
    made, kept = trained("cot", settings)
    assert made.progress.is_stopped
    assert made.progress.step < 40
    best = min((loss.loss_nats, loss.train_step) for loss in made.progress.losses if loss.loss_name == "dev_total_loss")
    assert made.progress.best_step == best[1] + 1
    taken = next(state for state in kept if state["step"] == made.progress.best_step)["weights"]
    assert all(torch.equal(weight.detach(), taken[name]) for name, weight in made.learner.weights().items())


def test_a_stopped_training_taken_up_stays_stopped() -> None:
    settings = SETTINGS.model_copy(update={"patience": 1, "learning_rate": 0.5, "train_steps": 40})
    made, kept = trained("cot", settings)
    later = training("cot", settings)
    later.take_up(kept[-1])
    later.run()
    assert later.progress.step == made.progress.step
    assert distance(made, later) == 0


def test_a_loss_that_is_not_finite_names_term_and_step() -> None:
    made = training("cot")
    with torch.no_grad():
        made.own[0].fill_(math.nan)
    with pytest.raises(TrainingError, match="token_loss at step 0 is not finite"):
        made.run()


def test_mixed_precision_trains_near_the_plain_one_and_may_follow_it_in_a_process() -> None:
    mixed = SETTINGS.model_copy(update={"precision": "bf16"})
    found = []
    for settings in (SETTINGS, mixed, SETTINGS):
        prepare_accelerate(settings)
        found.append(trained("mechanistic", settings)[0])
    plain, half, again = found
    assert distance(plain, again) == 0
    assert 0 < distance(plain, half) < 0.1
    assert {weight.dtype for weight in half.own} == {torch.float32}


def test_adapters_alone_are_trained_and_none_stands_on_an_output_projection() -> None:
    settings = SETTINGS.model_copy(update={"lora_rank": 2})
    plain, made = tiny_decoder("llama", 3), training("mechanistic", settings, student=tiny_decoder("llama", 3))
    names = made.learner.weights()
    assert names
    assert all("lora_" in name and "o_proj" not in name and "lm_head" not in name for name in names)
    made.run()
    merged = made.learner.finish()
    changed = {name for name, weight in plain.named_parameters() if not torch.equal(weight, merged.get_parameter(name))}
    assert changed
    assert all("q_proj" in name or "k_proj" in name or "v_proj" in name or "mlp" in name for name in changed)
