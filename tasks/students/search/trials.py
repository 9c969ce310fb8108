"""One trial of one method: train on the rest of train, rank the development documents, compare with the teacher's labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import TrainingError
from schemas.student_settings import DistillConfig
from tasks.labels.search import LabelIds, Vectors
from tasks.students.candidates import Texts
from tasks.students.matrices import Matrix
from tasks.students.methods import Plan
from tasks.students.prediction import measure_ranking, predict_labels
from tasks.students.training import train_student
from tasks.trials.choice import TrialResult, mean_result
from tasks.trials.drawing import Trial

RANKED_COUNT = 10
"""Labels a document that a trial is judged by, as recall at 10 needs."""


@dataclass(frozen=True)
class Bench:
    """What all trials share: documents, labels, the teacher's labels, and which documents are trained on and judged."""

    texts: Texts
    label_ids: LabelIds
    label_vectors: Vectors
    answers: Matrix
    train: NDArray[np.int64]
    dev: NDArray[np.int64]


def split_documents(plan: Plan, dev_frac: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and development rows with an answer of the teacher: the same for all methods, trials and seeds.

    Raises:
        TrainingError: there is no such development document.
    """
    train, dev = replace(plan, seed=seed).split(dev_frac)
    dev = dev[plan.is_usable[dev]]
    if not len(dev):
        raise TrainingError(
            f"no development document has an answer of the teacher (distill.dev_frac = {dev_frac:g} of {len(plan.is_usable)} "
            "documents): trace more documents, or raise distill.dev_frac"
        )
    return train, dev


def run_trial(bench: Bench, plan: Plan, trial: Trial, distill: DistillConfig, seeds: Sequence[int]) -> TrialResult:
    """P@1 and R@10 against the teacher's labels of the development documents, means over seeds.

    Raises:
        TrainingError: a loss is not finite.
    """
    settings = distill.model_copy(update={**dict(trial.values), "overrides": {}})
    texts, supervision = bench.texts.take(bench.train), plan.supervision.take(bench.train)
    found = []
    for seed in seeds:
        student, _ = train_student(texts, supervision, bench.label_vectors, settings, plan.phases, seed)
        ranking = predict_labels(
            student, bench.texts.take(bench.dev), bench.label_ids, bench.label_vectors, settings.shortlist_size, RANKED_COUNT
        )
        found.append(measure_ranking(ranking, bench.label_ids, bench.answers[bench.dev]))
    return mean_result(found, len(bench.dev))
