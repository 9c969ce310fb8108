"""Compact texts as training material: token ids, and the phase in which each token of the trace is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tasks.sequences.batches import pad
from tasks.sequences.compact import ANSWER, REFINE, SHORTLIST

PHASES = ("shortlist", "refine", "answer")
NO_PHASE = -1
"""Of tokens that are not learnt: the document's, and unknown ones."""

WINDOW = 16
"""Batches whose sequences are sorted by length together: 1.3% of a batch of 16 is padding; of unsorted ones 11% (measured)."""


@dataclass(frozen=True)
class Lesson:
    """One sequence: token ids, and the place in `PHASES` of each token that is learnt."""

    token_ids: Int[np.ndarray, " token"]
    phases: Int[np.ndarray, " token"]


@dataclass(frozen=True)
class LessonBatch:
    """Sequences padded on the right, and what is learnt of them.

    Attributes:
        token_ids: [sequence, token].
        rows: place in the flattened tokens of the row that predicts each learnt token.
        targets: the learnt tokens' ids.
        phases: their places in `PHASES`.
    """

    token_ids: Int[Tensor, "sequence token"]
    rows: Int[Tensor, " target"]
    targets: Int[Tensor, " target"]
    phases: Int[Tensor, " target"]

    def to(self, device: torch.device) -> "LessonBatch":
        """The same on a device."""
        return LessonBatch(*(one.to(device) for one in (self.token_ids, self.rows, self.targets, self.phases)))


def make_lesson(token_ids: Sequence[int], marks: Mapping[str, int], unknown_id: int) -> Lesson:
    """A compact text's lesson: a token counts to the phase it is written in, the mark that ends a phase too.

    Args:
        token_ids: of the whole text.
        marks: id of each mark, and of other tokens.
        unknown_id: id of unknown tokens, which are not learnt.
    """
    ids = np.array(token_ids, dtype=np.int64)
    is_mark = np.isin(ids, [marks[mark] for mark in (SHORTLIST, REFINE, ANSWER)])
    begun = np.cumsum(is_mark)
    phases = np.maximum(begun - is_mark, 1) - 1  # the mark itself ends the phase before it
    return Lesson(ids, np.where((begun == 0) | (ids == unknown_id), NO_PHASE, phases))


def make_batch(lessons: Sequence[Lesson], pad_id: int) -> LessonBatch:
    """Some lessons as one batch, on the CPU."""
    padded = pad([lesson.token_ids for lesson in lessons], pad_id)
    width = padded.token_ids.shape[1]
    phases = np.full((len(lessons), width), NO_PHASE, dtype=np.int64)
    for row, lesson in enumerate(lessons):
        phases[row, 1 : len(lesson.phases)] = lesson.phases[1:]
    places = np.flatnonzero(phases != NO_PHASE)
    flat = torch.from_numpy(places)
    return LessonBatch(padded.token_ids, flat - 1, padded.token_ids.flatten()[flat], torch.from_numpy(phases.flatten()[places]))


def draw_batches(lengths: Sequence[int], batch_size: int, step_count: int, seed: int) -> Iterator[Int[np.ndarray, " place"]]:
    """Places of the lessons of each step: whole shuffled passes, sorted by length within a window of batches.

    The same arguments give the same batches, so a training can go on at any step.
    """
    random = np.random.default_rng(seed)
    size = np.array(lengths)
    width = min(batch_size, len(size))
    given = 0
    while given < step_count:
        order = random.permutation(len(size))
        order = order[: len(order) // width * width]
        windows = [order[at : at + WINDOW * width] for at in range(0, len(order), WINDOW * width)]
        batches = [batch for one in windows for batch in one[np.argsort(size[one], kind="stable")].reshape(-1, width)]
        for place in random.permutation(len(batches))[: step_count - given]:
            yield batches[place]
            given += 1
