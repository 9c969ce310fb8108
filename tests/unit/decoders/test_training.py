"""Training learns, goes on to the bit where it was stopped, and says what is wrong."""

import io

import pytest
import torch

from schemas.errors import TrainingError
from tasks.decoders.training import TrainState, pack_state, train, unpack_state
from tasks.open_models.factorised import materialise
from tasks.open_models.steps import StepLoss, one_cycle
from tasks.sequences.compact import read_compact
from tasks.sequences.generation import continue_greedily
from tests.unit.decoders.lessons_of import SETTINGS, TOKENS, decoder, lessons, material


def through_a_file(state: TrainState) -> TrainState:
    """The state as it comes back from disk."""
    file = io.BytesIO()
    torch.save(pack_state(state), file)
    file.seek(0)
    return unpack_state(torch.load(file, weights_only=True))


def losses_at(losses: tuple[StepLoss, ...], step: int) -> dict[str, float]:
    return {loss.loss_name: loss.loss_nats for loss in losses if loss.train_step == step}


def test_train_learns_to_write_the_traces() -> None:
    made, settings = material(), SETTINGS.model_copy(update={"train_steps": 150, "learning_rate": 1e-2})
    model, taught = decoder(made, settings), lessons(made)
    losses = train(model, taught, settings)
    assert losses_at(losses, 149)["dev_total_loss"] < 0.2 < losses_at(losses, 0)["total_loss"]
    prompt = made.tokenizer("<document> about gimp number3")["input_ids"]
    (written,) = continue_greedily(materialise(model), [prompt], taught.pad_id, made.tokenizer.eos_token_id, 40, 1)
    read = read_compact(str(made.tokenizer.decode(written)), {token: label for label, token in TOKENS.items()})
    assert (read.shortlist, read.answers, read.is_whole) == ((3, 4), (3,), True)


def test_train_goes_on_from_every_checkpoint_as_if_it_had_not_stopped() -> None:
    made = material()
    taught, unbroken, states = lessons(made), decoder(made), []

    def keep(state: TrainState) -> None:
        states.append(through_a_file(state))

    losses = train(unbroken, taught, SETTINGS, keep=keep)
    assert [state.step for state in states] == [5, 10, 12]
    for state in states:
        resumed = decoder(made, SETTINGS.model_copy(update={"seed": 9}))  # other weights: all must come from the state
        assert train(resumed, taught, SETTINGS, state) == losses
        for name, weight in unbroken.state_dict().items():
            assert torch.equal(weight, resumed.state_dict()[name]), name


def test_train_says_losses_by_phase_at_every_step_and_of_development_at_checkpoints() -> None:
    made = material()
    losses = train(decoder(made), lessons(made), SETTINGS)
    named = {"shortlist_loss", "refine_loss", "answer_loss", "total_loss"}
    for step in range(12):
        dev = {f"dev_{name}" for name in named} if step in (4, 9, 11) else set()
        assert set(losses_at(losses, step)) == named | dev
    first = losses_at(losses, 0)
    assert min(first.values()) <= first["total_loss"] <= max(first.values())


def test_train_learns_nothing_of_the_document() -> None:
    made = material()
    for lesson in lessons(made).train:
        start = int((lesson.phases >= 0).argmax())
        assert made.tokenizer.convert_ids_to_tokens(int(lesson.token_ids[start])) == "<shortlist>"


def test_train_refuses_a_loss_that_is_not_finite() -> None:
    made = material()
    spoilt = decoder(made)
    with torch.no_grad():
        spoilt.map.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"step 0 is not finite.*learning_rate"):
        train(spoilt, lessons(made), SETTINGS)


def test_one_cycle_rises_then_falls() -> None:
    rates = [one_cycle(step, 100) for step in range(100)]
    assert rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-2
