"""The methods as a 2x2 of phases, and which students a stage trains: one a method and seed, the same for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.student_settings import DistillConfig
from tasks.students.matrices import filled_rows
from tasks.students.supervision import Supervision, refuse_too_little, without_phases


@dataclass(frozen=True)
class Phases:
    """Which phases of the teacher's reasoning a method is supervised with."""

    has_p1: bool = False
    has_p2: bool = False
    has_random_anchors: bool = False
    """The control of phase 1: words weigh as if the teacher cited others, as frequent."""


SUPERVISED = "supervised"
PHASES = {
    "answers": Phases(),
    "mechanistic-no-p2": Phases(has_p1=True),
    "mechanistic-no-p1": Phases(has_p2=True),
    "mechanistic": Phases(has_p1=True, has_p2=True),
    "mechanistic-random-anchors": Phases(has_p1=True, has_p2=True, has_random_anchors=True),
    SUPERVISED: Phases(),
}


@dataclass(frozen=True)
class Plan:
    """One student to train: who it is, what it sees, and which documents it may train on."""

    system: str
    seed: int
    phases: Phases
    supervision: Supervision
    is_usable: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The student's folder."""
        return f"{self.system}-seed{self.seed}"

    def split(self, dev_frac: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the documents to train on, and of the development documents, which the seed alone decides."""
        order = np.random.default_rng(self.seed).permutation(len(self.is_usable))
        dev_count = round(dev_frac * len(order))
        train = np.sort(order[dev_count:])
        return train[self.is_usable[train]], np.sort(order[:dev_count])


def plan_students(teacher: Supervision, gold: Supervision, distill: DistillConfig) -> list[Plan]:
    """One plan a method and seed.

    All methods train on the documents with a usable trace; the supervised reference on those of them with known targets.

    Raises:
        TrainingError: fewer than 20 documents have what a method learns from.
    """
    document_count = len(teacher.document_ids)
    phases = [PHASES[method] for method in distill.methods]
    refuse_too_little(teacher, document_count, any(p.has_p1 for p in phases), any(p.has_p2 for p in phases))
    is_usable = filled_rows(teacher.answers)
    plans = []
    for method, seen in zip(distill.methods, phases, strict=True):
        supervision = without_phases(teacher, seen.has_p1, seen.has_p2)
        plans += _each_seed(method, seen, supervision, is_usable, distill.seeds)
    if distill.has_supervised_reference:
        is_known = is_usable & filled_rows(gold.answers)
        refuse_too_little(gold.take(np.flatnonzero(is_known)), document_count, has_p1=False, has_p2=False)
        plans += _each_seed(SUPERVISED, PHASES[SUPERVISED], gold, is_known, distill.seeds)
    return plans


def _each_seed(
    system: str, phases: Phases, supervision: Supervision, is_usable: NDArray[np.bool_], seeds: Sequence[int]
) -> list[Plan]:
    return [Plan(system, seed, phases, supervision, is_usable) for seed in seeds]
