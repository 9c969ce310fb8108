"""Train one student: a shortlister, two more that never saw the documents they list for the refiner, and the refiner.

Every method has the same networks, steps, batches and order of documents; only the supervision differs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import TrainingError
from schemas.student_settings import DistillConfig
from tasks.labels.search import Vectors
from tasks.labels.time_budget import TimeBudget
from tasks.students.candidates import Candidates, Student, Texts, candidate_features, join_candidates, list_candidates
from tasks.students.features import FEATURES, Evidence, Lessons, gather_evidence, remember
from tasks.students.losses import listwise_loss, verdict_loss
from tasks.students.matrices import Matrix, dense_rows
from tasks.students.methods import Phases
from tasks.students.networks import EVIDENCE_WEIGHTS, Refiner, Shortlister
from tasks.students.supervision import Supervision

FOLDS = 2
"""The refiner learns from lists of shortlisters trained without the document: its own would be too sure of itself."""

SAMPLED_ABOVE_COUNT = 20_000
"""With more labels a step scores its targets and a sample of the others."""

SAMPLE_COUNT = 8_192
WARM_FRAC = 0.2
SHORTLISTER_SHARE = 0.8
"""Share of `max_cpu_s` after which the shortlisters are trained: the one that serves, and those that list for the refiner, which
together take as many steps again. The refiner has what is left after listing. The time runs from the first look at the training
documents to the refiner's last step, on the thread that trains."""

LOGGED_EVERY = 10


@dataclass(frozen=True)
class StepLoss:
    """One term of the loss at one step."""

    component: str
    train_step: int
    loss_name: str
    loss_nats: float


@dataclass(frozen=True)
class Term:
    """One weighted term of a loss, in nats per document."""

    name: str
    weight: float
    value: Tensor


FAST, FASTER = ("log_scale", "log_weights"), 25.0
"""Weights that begin far from where a dataset needs them, and how much faster they learn (development: at 1 they hardly move)."""


@dataclass(frozen=True)
class Lesson:
    """All a student is trained on: documents, supervision and evidence in the same order, and the labels."""

    texts: Texts
    supervision: Supervision
    evidence: Evidence
    label_vectors: Vectors


def train_student(
    texts: Texts, supervision: Supervision, label_vectors: Vectors, settings: DistillConfig, phases: Phases, seed: int
) -> tuple[Student, list[StepLoss]]:
    """A trained student, and its loss every 10 steps.

    Args:
        texts: training documents.
        supervision: of the same documents, each with an answer.
        label_vectors: unit vectors [label, d_model].
        settings: steps, or the CPU seconds they must fit in, batch size, rates and weights.
        phases: which terms of the loss there are.
        seed: draws weights, batches and folds; the same seed gives the same student to the bit.

    Raises:
        TrainingError: a loss is not finite, or no step fits in the CPU seconds.
    """
    budget = None if settings.max_cpu_s is None else TimeBudget(settings.max_cpu_s, "distill.max_cpu_s")
    memory, votes = remember(texts.vectors, texts.counts, draw_lessons(supervision, phases, seed, texts.counts.shape[1]))
    evidence = gather_evidence(memory, texts.vectors, texts.counts, texts.wording, votes)
    lesson = Lesson(texts, supervision, evidence, label_vectors)
    everything = np.arange(len(texts.vectors))
    if budget is not None:
        fitting = budget.steps(
            lambda count: train_shortlister(lesson, everything, count, settings, phases, seed), SHORTLISTER_SHARE, FOLDS
        )
        settings = settings.model_copy(update={"shortlister_steps": fitting})
    shortlister, steps = train_shortlister(lesson, everything, settings.shortlister_steps, settings, phases, seed)
    candidates = list_unseen(lesson, settings, phases, seed)
    features = candidate_features(candidates, texts, evidence, label_vectors, memory, is_training=True)
    refiner_steps = settings.refiner_steps
    if budget is not None:
        refiner_steps = budget.steps(lambda count: train_refiner(lesson, candidates, features, count, settings, phases, seed))
    refiner, more = train_refiner(lesson, candidates, features, refiner_steps, settings, phases, seed)
    return Student(shortlister, refiner, memory), steps + more


def draw_lessons(supervision: Supervision, phases: Phases, seed: int, bucket_count: int) -> Lessons:
    """What a student remembers of its training documents; the seed draws anchors for the control that has them at random."""
    weights = np.ones(bucket_count, np.float32)
    if supervision.anchors is not None:
        drawn = supervision.anchors.drawn_weights(np.random.default_rng(seed)) if phases.has_random_anchors else None
        weights = supervision.anchors.weights() if drawn is None else drawn
    return Lessons(supervision.grades, supervision.answers, supervision.listed, weights)


def train_shortlister(
    lesson: Lesson, rows: NDArray[np.int64], step_count: int, settings: DistillConfig, phases: Phases, seed: int
) -> tuple[Shortlister, list[StepLoss]]:
    """A shortlister of the documents `rows`, and its losses.

    The loss is `answer_loss` plus, with phase 1, lambda_p1 times `shortlist_loss`: the listwise divergence from the final
    labels, and from the graded shortlist.
    """
    shortlister = Shortlister(
        lesson.label_vectors.shape[1], EVIDENCE_WEIGHTS, settings.temperature, torch.Generator().manual_seed(seed)
    )
    random = np.random.default_rng(seed)

    def losses(batch: NDArray[np.int64]) -> list[Term]:
        chosen = rows[batch]
        columns, shift = sample_labels(lesson.supervision.grades[chosen], random)
        vectors = lesson.label_vectors if columns is None else lesson.label_vectors[columns]
        evidence = torch.from_numpy(lesson.evidence.rows(chosen, columns))
        scores = shortlister(torch.from_numpy(lesson.texts.vectors[chosen]), torch.from_numpy(vectors), evidence) + shift
        answers, grades, barred = (
            torch.from_numpy(dense_rows(matrix, chosen, columns))
            for matrix in (lesson.supervision.answers, lesson.supervision.grades, lesson.texts.barred)
        )
        terms = [Term("answer_loss", 1.0, listwise_loss(scores, answers, barred == 0))]
        if phases.has_p1:
            terms.append(Term("shortlist_loss", settings.lambda_p1, listwise_loss(scores, grades, barred == 0)))
        return terms

    batches = draw_batches(len(rows), settings.batch_size, step_count, seed)
    return shortlister, _optimise("shortlister", shortlister, losses, batches, settings)


def list_unseen(lesson: Lesson, settings: DistillConfig, phases: Phases, seed: int) -> Candidates:
    """Shortlists of all documents by shortlisters that were not trained on them, as long as those the refiner will serve.

    With phase 2 the labels the teacher dropped take the last places, so that the refiner meets the near misses. Answers that
    the shortlister did not find are not put in: the refiner would learn to trust the end of the list.
    """
    count = len(lesson.texts.vectors)
    fold = np.random.default_rng(seed).permutation(count) % FOLDS
    order, parts = [], []
    for held_out in range(FOLDS):
        seen, unseen = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        step_count = max(1, settings.shortlister_steps * (FOLDS - 1) // FOLDS)  # as many epochs as the one that serves
        shortlister, _ = train_shortlister(lesson, seen, step_count, settings, phases, seed)
        forced = lesson.supervision.dropped if phases.has_p2 else None
        parts.append(
            list_candidates(
                shortlister, lesson.texts, lesson.evidence, lesson.label_vectors, unseen, settings.shortlist_size, forced
            )
        )
        order.append(unseen)
    return join_candidates(parts).take(np.argsort(np.concatenate(order)))


def train_refiner(
    lesson: Lesson,
    candidates: Candidates,
    features: NDArray[np.float32],
    step_count: int,
    settings: DistillConfig,
    phases: Phases,
    seed: int,
) -> tuple[Refiner, list[StepLoss]]:
    """A refiner of the candidates of all documents, and its losses.

    The loss is `answer_loss` plus, with phase 2, lambda_p2 times `verdict_loss`: the divergence from the final labels on the
    list, and from the teacher's keep and drop verdicts on pairs of the list.
    """
    refiner = Refiner(len(FEATURES), torch.Generator().manual_seed(seed))
    scores, seen, is_candidate = (torch.from_numpy(array) for array in (candidates.log_probs, features, candidates.is_candidate))
    answers, kept, dropped = (
        torch.from_numpy(candidates.cells(matrix))
        for matrix in (lesson.supervision.answers, lesson.supervision.kept, lesson.supervision.dropped)
    )
    refiner.scale_to(seen, is_candidate)

    def losses(batch: NDArray[np.int64]) -> list[Term]:
        rows = torch.from_numpy(batch)
        refined = refiner(scores[rows], seen[rows])
        terms = [Term("answer_loss", 1.0, listwise_loss(refined, answers[rows], is_candidate[rows]))]
        if phases.has_p2:
            verdicts = verdict_loss(refined, kept[rows] > 0, dropped[rows] > 0)
            terms.append(Term("verdict_loss", settings.lambda_p2, verdicts))
        return terms

    batches = draw_batches(len(features), settings.batch_size, step_count, seed)
    return refiner, _optimise("refiner", refiner, losses, batches, settings)


def last_step(losses: Sequence[StepLoss], component: str) -> int:
    """Steps that a part of a student was trained for; the loss of the last one is always kept."""
    return 1 + max(loss.train_step for loss in losses if loss.component == component)


def draw_batches(count: int, batch_size: int, step_count: int, seed: int) -> NDArray[np.int64]:
    """Rows [step, place]: whole shuffled passes over the documents, one after the other, cut into batches."""
    random = np.random.default_rng(seed)
    width = min(batch_size, count)
    passes = -(-width * step_count // count)
    order = np.concatenate([random.permutation(count) for _ in range(passes)])
    return order[: width * step_count].reshape(step_count, width)


def sample_labels(
    targets: Matrix, random: np.random.Generator, above: int = SAMPLED_ABOVE_COUNT, sample_count: int = SAMPLE_COUNT
) -> tuple[NDArray[np.int64] | None, Tensor]:
    """Label rows a step scores and what is added to their scores; None and 0 where it scores all.

    With more than `above` labels: all targets of the batch, and `sample_count` of the others, each of which stands for
    several: the logarithm of how many is added to its score, so that the sum of exponentials stays right on average.

    Source: sampled softmax, Jean et al. 2015, arXiv:1412.2007, section 3, with a uniform proposal.
    """
    label_count = targets.shape[1]
    if label_count <= above:
        return None, torch.zeros(())
    wanted = np.unique(targets.indices)
    others = np.setdiff1d(np.arange(label_count), wanted, assume_unique=True)
    sampled = np.sort(random.choice(others, min(sample_count, len(others)), replace=False))
    shift = np.zeros(len(wanted) + len(sampled), np.float32)
    shift[len(wanted) :] = math.log(len(others) / max(len(sampled), 1))
    return np.concatenate([wanted, sampled]).astype(np.int64), torch.from_numpy(shift)


def one_cycle(step: int, step_count: int) -> float:
    """Share of the peak learning rate: a straight rise over the first fifth, then half a cosine down to nearly 0."""
    warm = max(1, round(WARM_FRAC * step_count))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warm) / max(1, step_count - warm + 1)))


def _groups(network: nn.Module, peak: float) -> list[dict[str, Any]]:
    """The network's weights with their peak learning rates: those that weigh whole kinds of evidence learn faster."""
    weights = dict(network.named_parameters())
    fast = [weights.pop(name) for name in FAST if name in weights]
    return [{"params": [*weights.values()], "lr": peak}, *([{"params": fast, "lr": FASTER * peak}] if fast else [])]


def _optimise(
    component: str,
    network: nn.Module,
    losses: Callable[[NDArray[np.int64]], list[Term]],
    batches: NDArray[np.int64],
    settings: DistillConfig,
) -> list[StepLoss]:
    """Train in place: AdamW over the batches; the terms of every tenth step and of the last."""
    optimiser = torch.optim.AdamW(_groups(network, settings.learning_rate), weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step, len(batches)))
    logged = []
    for step, batch in enumerate(batches):
        terms = losses(batch)
        total = Term("total_loss", 1.0, torch.stack([term.weight * term.value for term in terms]).sum())
        if not torch.isfinite(total.value):
            seen = {term.name: float(term.value.detach()) for term in terms}
            raise TrainingError(f"{component}: the loss at step {step} is not finite: {seen}; lower distill.learning_rate")
        optimiser.zero_grad()
        torch.autograd.backward(total.value)
        optimiser.step()
        schedule.step()
        if step % LOGGED_EVERY == 0 or step == len(batches) - 1:
            logged += [StepLoss(component, step, term.name, float(term.value.detach())) for term in [*terms, total]]
    return logged
