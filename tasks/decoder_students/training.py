"""Train a decoder student: token loss, and what else its method teaches; a state that goes on to the bit.

A batch may be computed in parts. Every term is a sum over the batch divided by its weight in the whole batch, which is known
before the first part is run, so parts add up to what the batch would give at once.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from schemas.errors import TrainingError
from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.guides import Guide, Part
from tasks.decoder_students.learner import Learner, cross_entropy, put_weights, take_weights
from tasks.decoder_students.material import Lessons
from tasks.decoder_students.methods import TOKEN
from tasks.open_models.lessons import LessonBatch, draw_batches, make_batch
from tasks.open_models.steps import MAX_NORM, StepLoss, by_phase, make_optimiser, one_cycle

DEV_COUNT = 256
"""Development sequences that the losses of a checkpoint are means over."""

DEV_BATCH = 64


@dataclass
class Progress:
    """How far a training is: everything but the student's and the optimiser's numbers.

    `best_nats` is the lowest development loss at a checkpoint so far, `waited` the checkpoints since.
    """

    step: int = 0
    losses: list[StepLoss] = field(default_factory=list)
    cpu_s: float = 0.0
    token_count: int = 0
    best_nats: float = math.inf
    best_step: int = 0
    waited: int = 0
    is_stopped: bool = False


State = dict[str, Any]  # tensors, numbers, texts, and lists and dicts of them, as torch stores them


class Training:
    """One student's training."""

    def __init__(
        self, learner: Learner, lessons: Lessons, guide: Guide, settings: DecoderStudentsConfig, seed: int, name: str
    ) -> None:
        """Get ready; nothing is trained yet.

        Args:
            learner: the student, on its device.
            lessons: what it is taught.
            guide: terms besides the token loss.
            settings: of its method.
            seed: draws the batches.
            name: of the student, for messages.
        """
        from accelerate import Accelerator

        self.learner, self.lessons, self.guide, self.settings, self.seed, self.name = (
            learner, lessons, guide, settings, seed, name,
        )  # fmt: skip
        self.accelerator: Accelerator = Accelerator(cpu=learner.device.type == "cpu", mixed_precision=settings.precision)
        extra = [weight for module in guide.modules() for weight in module.parameters()]
        self.own, self.extra = list(learner.weights().values()), extra
        optimiser = make_optimiser([*self.own, *extra], settings.learning_rate, settings.weight_decay)
        self.optimiser = self.accelerator.prepare_optimizer(optimiser)
        self.progress = Progress()
        self.best: dict[str, Tensor] | None = None

    def state(self) -> State:
        """Everything that is needed to go on."""
        scaler = self.accelerator.scaler
        kept = {name: value for name, value in vars(self.progress).items() if name != "losses"}
        return {
            **kept,
            "train_steps": self.settings.train_steps,
            "losses": [(loss.train_step, loss.loss_name, loss.loss_nats) for loss in self.progress.losses],
            "weights": take_weights(self.learner),
            "optimiser": self.optimiser.state_dict(),
            "guide": self.guide.state(),
            "best": self.best,
            "scaler": scaler.state_dict() if scaler else None,
        }

    def take_up(self, state: State) -> None:
        """Go on from a state of the same training: from there on everything is as if it had not stopped."""
        kept = {name: state[name] for name in vars(self.progress) if name != "losses"}
        self.progress = Progress(**kept, losses=[StepLoss(*row) for row in state["losses"]])
        put_weights(self.learner, state["weights"])
        self.guide.take_up(state["guide"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = state["best"]
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def run(self, keep: Callable[[State], None] = lambda _: None, clock: Callable[[], float] = time.process_time) -> None:
        """Train to the last step, or until development losses no longer fall; the student has its best weights then.

        Args:
            keep: is given the state every `checkpoint_steps`, and at the end.
            clock: CPU seconds.

        Raises:
            TrainingError: a term is not finite.
        """
        settings, reached = self.settings, self.progress
        drawn = draw_batches(self.lessons.lengths, settings.batch_size, settings.train_steps, self.seed)
        since = clock()
        for step, places in enumerate(drawn):
            if step < reached.step:
                continue
            if reached.is_stopped:
                break
            reached.losses += self._step(step, places)
            reached.step = step + 1
            if reached.step % settings.checkpoint_steps == 0 or reached.step == settings.train_steps:
                self._measure(step)
                reached.cpu_s += clock() - since
                since = clock()
                keep(self.state())
        if settings.patience is not None and self.best is not None:
            put_weights(self.learner, self.best)

    def _step(self, step: int, places: Int[np.ndarray, " document"]) -> list[StepLoss]:
        """One step of the optimiser; its losses."""
        self.guide.begin(self.learner, step)
        parts = [self._part(some) for some in np.array_split(places, min(self.settings.accumulation, len(places)))]
        weights = self._weigh(parts, step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * one_cycle(step, self.settings.train_steps)
        self.optimiser.zero_grad()
        sums: dict[str, list[Tensor]] = {}
        nats = []
        for part in parts:
            self.progress.token_count += int(part.batch.token_ids.numel())
            nats.append(self._backward(part, step, weights, sums))
        self.accelerator.clip_grad_norm_(self.own, MAX_NORM)
        if self.extra:
            self.accelerator.clip_grad_norm_(self.extra, MAX_NORM)
        self.optimiser.step()
        return list(self._logged(step, sums, weights, torch.cat(nats), torch.cat([part.batch.phases for part in parts])))

    def _part(self, places: Int[np.ndarray, " document"]) -> Part:
        return Part(places, self._batch([self.lessons.train[place] for place in places]))

    def _batch(self, lessons: Sequence[Any]) -> LessonBatch:
        return make_batch(lessons, self.lessons.pad_id).to(self.learner.device)

    def _weigh(self, parts: Sequence[Part], step: int) -> dict[str, float]:
        """Weight of each term in the whole batch."""
        found = {TOKEN: float(sum(len(part.batch.targets) for part in parts))}
        for part in parts:
            for name, weight in self.guide.weigh(part, step).items():
                found[name] = found.get(name, 0.0) + weight
        return found

    def _backward(self, part: Part, step: int, weights: Mapping[str, float], sums: dict[str, list[Tensor]]) -> Tensor:
        """Gradients of a part's share of the loss; nats of its tokens."""
        lambdas = {TOKEN: 1.0, **self.guide.weights()}
        with self.learner.prepared(), self.accelerator.autocast():
            done, terms = self.guide.run(self.learner, part, step)
            nats = cross_entropy(done.logits, part.batch.targets)
        totals = {TOKEN: nats.sum(), **{name: one.total for name, one in terms.items()}}
        self._check(totals, step)
        scaled = [lambdas[name] * total.to(nats.device) / weights[name] for name, total in totals.items() if weights[name] > 0]
        if scaled:
            self.accelerator.backward(torch.stack(scaled).sum())
        for name, total in totals.items():
            sums.setdefault(name, []).append(total.detach())
        return nats.detach()

    def _check(self, totals: Mapping[str, Tensor], step: int) -> None:
        """Refuse a loss that is not finite.

        Raises:
            TrainingError: one is not.
        """
        for name, total in totals.items():
            if not torch.isfinite(total):
                raise TrainingError(
                    f"{self.name}: {name} at step {step} is not finite ({float(total.detach())}); lower "
                    f"decoder_students.learning_rate, now {self.settings.learning_rate:g}, for all methods"
                )

    def _logged(
        self, step: int, sums: Mapping[str, list[Tensor]], weights: Mapping[str, float], nats: Tensor, phases: Tensor
    ) -> Iterator[StepLoss]:
        """Means of a step: by term, tokens by phase, and in total."""
        means = {name: float(torch.stack(some).sum()) / weights[name] for name, some in sums.items() if weights[name] > 0}
        lambdas = {TOKEN: 1.0, **self.guide.weights()}
        for name, mean in means.items():
            yield StepLoss(step, name, mean)
        for loss in by_phase(nats, phases.to(nats.device), step):
            if loss.loss_name != "total_loss":
                yield loss
        yield StepLoss(step, "total_loss", sum(lambdas[name] * mean for name, mean in means.items()))

    @torch.no_grad()
    def _measure(self, step: int) -> None:
        """Token losses of the first development sequences; the weights are kept if they are the best and may be asked for."""
        reached, chosen = self.progress, self.lessons.dev[:DEV_COUNT]
        nats, phases = [], []
        with self.learner.prepared(), self.accelerator.autocast():
            for start in range(0, len(chosen), DEV_BATCH):
                batch = self._batch(chosen[start : start + DEV_BATCH])
                nats.append(self.learner.token_losses(batch).float().cpu())
                phases.append(batch.phases.cpu())
        found = list(by_phase(torch.cat(nats), torch.cat(phases), step, "dev_")) if nats and sum(map(len, nats)) else []
        reached.losses += found
        if self.settings.patience is None or not found:
            return
        if found[-1].loss_nats < reached.best_nats:
            reached.best_nats, reached.best_step, reached.waited = found[-1].loss_nats, step + 1, 0
            self.best = take_weights(self.learner)
        else:
            reached.waited += 1
            reached.is_stopped = reached.waited >= self.settings.patience
