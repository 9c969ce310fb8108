"""Train a decoder on lessons: next token of the trace only, a loss by phase, and a state that goes on to the bit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from schemas.config import DecoderConfig
from schemas.errors import TrainingError
from tasks.open_models.factorised import FactorisedDecoder
from tasks.open_models.lessons import Lesson, LessonBatch, draw_batches, make_batch
from tasks.open_models.steps import MAX_NORM, StepLoss, by_phase, make_optimiser, one_cycle

DEV_COUNT = 256
"""Development sequences that the losses of a checkpoint are means over."""

DEV_BATCH = 64


@dataclass(frozen=True)
class TrainState:
    """Everything a training needs to go on: steps done, weights, the optimiser's state, and the losses so far."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]  # as torch keeps it
    losses: tuple[StepLoss, ...]


def pack_state(state: TrainState) -> dict[str, Any]:  # tensors, numbers and rows, as they are stored
    """The state of a training as it is stored."""
    return {
        "step": state.step,
        "weights": state.weights,
        "optimiser": state.optimiser,
        "losses": [(loss.train_step, loss.loss_name, loss.loss_nats) for loss in state.losses],
    }


def unpack_state(kept: dict[str, Any]) -> TrainState:  # as `pack_state` made it
    """The state of a training from what was stored."""
    return TrainState(kept["step"], kept["weights"], kept["optimiser"], tuple(StepLoss(*row) for row in kept["losses"]))


@dataclass(frozen=True)
class Lessons:
    """What is trained on, what it is measured on, and the id of padding."""

    train: Sequence[Lesson]
    dev: Sequence[Lesson]
    pad_id: int


def train(
    decoder: FactorisedDecoder,
    lessons: Lessons,
    settings: DecoderConfig,
    state: TrainState | None = None,
    keep: Callable[[TrainState], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StepLoss, ...]:
    """Train in place, on the decoder's device; the losses of every step, and of the development sequences at checkpoints.

    Args:
        decoder: new, or of any weights if there is a state.
        lessons: sequences.
        settings: steps, rates, batch size and seed.
        state: where an earlier training stopped; from there on everything is as if it had not.
        keep: is given the state every `checkpoint_steps`, and after the last step.
        progress: told (done, total) steps.

    Raises:
        TrainingError: a loss is not finite.
    """
    optimiser = make_optimiser(decoder.parameters(), settings.learning_rate, settings.weight_decay)
    losses = _take_up(decoder, optimiser, state) if state else []
    first = state.step if state else 0
    batches = draw_batches(
        [len(lesson.token_ids) for lesson in lessons.train], settings.batch_size, settings.train_steps, settings.seed
    )
    for step, places in enumerate(batches):
        if step < first:
            continue
        batch = make_batch([lessons.train[place] for place in places], lessons.pad_id).to(_device(decoder))
        losses += _step(decoder, optimiser, batch, step, settings)
        done = step + 1
        progress(done, settings.train_steps)
        if done % settings.checkpoint_steps == 0 or done == settings.train_steps:
            losses += list(_dev_losses(decoder, lessons, step))
            keep(TrainState(done, _weights(decoder), optimiser.state_dict(), tuple(losses)))
    return tuple(losses)


def _device(decoder: FactorisedDecoder) -> torch.device:
    return decoder.map.weight.device


def _weights(decoder: FactorisedDecoder) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in decoder.state_dict().items()}


def _take_up(decoder: FactorisedDecoder, optimiser: torch.optim.AdamW, state: TrainState) -> list[StepLoss]:
    decoder.load_state_dict(state.weights)
    optimiser.load_state_dict(state.optimiser)
    return list(state.losses)


def _step(
    decoder: FactorisedDecoder, optimiser: torch.optim.AdamW, batch: LessonBatch, step: int, settings: DecoderConfig
) -> list[StepLoss]:
    """One step of the optimiser; its losses."""
    decoder.train()
    nats = token_losses(decoder, batch)
    total = nats.mean()
    if not torch.isfinite(total):
        raise TrainingError(
            f"decoder: the loss at step {step} is not finite ({float(total.detach())}); lower decoder.learning_rate, now "
            f"{settings.learning_rate:g}"
        )
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * one_cycle(step, settings.train_steps)
    optimiser.zero_grad()
    torch.autograd.backward(total)
    nn.utils.clip_grad_norm_(decoder.parameters(), MAX_NORM)
    optimiser.step()
    return list(by_phase(nats.detach(), batch.phases, step))


def token_losses(decoder: FactorisedDecoder, batch: LessonBatch) -> Float[Tensor, " target"]:
    """Cross-entropy of each learnt token, in nats."""
    return nn.functional.cross_entropy(decoder(batch.token_ids, batch.rows), batch.targets, reduction="none")


@torch.no_grad()
def _dev_losses(decoder: FactorisedDecoder, lessons: Lessons, step: int) -> Iterator[StepLoss]:
    """Losses of the first development sequences."""
    decoder.eval()
    chosen = lessons.dev[:DEV_COUNT]
    nats, phases = [], []
    for start in range(0, len(chosen), DEV_BATCH):
        batch = make_batch(chosen[start : start + DEV_BATCH], lessons.pad_id).to(_device(decoder))
        nats.append(token_losses(decoder, batch))
        phases.append(batch.phases)
    if nats:
        yield from by_phase(torch.cat(nats), torch.cat(phases), step, "dev_")
