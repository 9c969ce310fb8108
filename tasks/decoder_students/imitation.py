"""What a teacher teaches besides tokens: its next-token distribution, and what its heads do, imitated by matched heads."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.cached_signals import Likeliest, TeacherBatch
from tasks.decoder_students.guides import Part, Pass, run_part
from tasks.decoder_students.learner import Learner
from tasks.decoder_students.lecturer import Lecturer
from tasks.decoder_students.losses import (
    distribution_loss,
    interaction_loss,
    interaction_weight,
    reading_loss,
    reading_weight,
    write_loss,
    write_weight,
)
from tasks.decoder_students.matching import HeadMatch, Profiles, Slot, match_heads
from tasks.decoder_students.methods import DISTRIBUTION, P1, P1_TERMS, P2, P2_TERMS, Teaching, Term
from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals, Weighted
from tasks.decoder_students.signals import Head, PhaseHeads, find_signal_places, observe
from tasks.open_models.scores import measure_rows, score_documents
from tasks.sequences.batches import Batch, by_length, pad
from tasks.sequences.tokens import TokenSequence

MATCH_BATCH = 32
"""Development documents a forward pass when a student's heads are scored."""


@dataclass(frozen=True)
class Watched:
    """Development documents that a student's heads are scored on, and the id of padding."""

    sequences: Sequence[TokenSequence]
    pad_id: int


class Tutor:
    """The guide of one student: its terms, its matched heads, and the maps from its width to the teacher's."""

    def __init__(
        self,
        teaching: Teaching,
        settings: DecoderStudentsConfig,
        lecturer: Lecturer,
        watched: Watched,
        slots: Sequence[Slot],
        learner: Learner,
        seed: int,
    ) -> None:
        """Get ready.

        Args:
            teaching: the method.
            settings: its settings.
            lecturer: the teacher.
            watched: documents for the matching.
            slots: heads of the teacher that are imitated, those of both phases.
            learner: the student; the maps stand on its device.
            seed: draws the maps.
        """
        self.teaching, self.lecturer, self.watched, self.slots = teaching, lecturer, watched, tuple(slots)
        self._weights = teaching.weights(settings)
        self.begin_step = round(settings.match_frac * settings.train_steps) if teaching.imitates_heads else 0
        self.matches: tuple[HeadMatch, ...] = ()
        self._maps = nn.ModuleDict(
            {
                phase: _new_map(learner.parts.d_model, lecturer.d_model, seed + place)
                for place, (phase, is_used) in enumerate(((P1, teaching.has_phase1), (P2, teaching.has_phase2)))
                if is_used
            }
        ).to(learner.device)
        self._read: dict[tuple[int, ...], TeacherBatch] = {}
        self._asked = self._heads_of({P1: teaching.has_phase1, P2: teaching.has_phase2}, [(s.layer, s.head) for s in self.slots])

    def weights(self) -> Mapping[str, float]:
        """Weight of each term in the loss."""
        return {str(name): weight for name, weight in self._weights.items()}

    def modules(self) -> Sequence[nn.Module]:
        """The maps."""
        return list(self._maps.values())

    def begin(self, learner: Learner, step: int) -> None:
        """Match heads before the first step at which they are imitated."""
        if self.teaching.imitates_heads and step >= self.begin_step and not self.matches:
            profiles = student_profiles(learner, self.watched)
            self.matches = match_heads(self.slots, self.lecturer.profiles, profiles)

    def imitated(self) -> tuple[HeadMatch, ...]:
        """The matches of the phases that are imitated."""
        used = {phase for phase, is_used in ((P1, self.teaching.has_phase1), (P2, self.teaching.has_phase2)) if is_used}
        return tuple(match for match in self.matches if match.matched_phase in used)

    def terms(self, step: int) -> Sequence[Term]:
        """None before heads are matched, for methods that imitate heads: until then they are as `cot`."""
        return tuple(self._weights) if step >= self.begin_step else ()

    def weigh(self, part: Part, step: int) -> Mapping[str, float]:
        """Weight of a part in each term: of the teacher and the rows alone."""
        terms = self.terms(step)
        if not terms:
            return {}
        key = tuple(part.places.tolist())
        taught = self.lecturer.read(key, self._asked, DISTRIBUTION in terms)
        self._read[key] = taught
        found: dict[str, float] = {}
        for term in terms:
            if term == DISTRIBUTION:
                found[term] = float(len(_rows_of(part, taught.likeliest)[0]))
            else:
                found[term] = float(self._weight(term, taught))
        return found

    def run(self, learner: Learner, part: Part, step: int) -> tuple[Pass, Mapping[str, Weighted]]:
        """One forward pass, with what the matched heads do in it."""
        terms = self.terms(step)
        if not terms:
            return run_part(learner, part), {}
        taught = self._read.pop(tuple(part.places.tolist())).to(learner.device)
        if not self.teaching.imitates_heads:
            done, signals = run_part(learner, part), None
        else:
            done, signals = self._observed(learner, part)
        return done, {term: self._loss(term, done, signals, taught) for term in terms}

    def _observed(self, learner: Learner, part: Part) -> tuple[Pass, tuple[PhaseSignals, PhaseSignals]]:
        sequences = [self.lecturer.sequences[place] for place in part.places]
        ids = part.batch.token_ids
        batch = Batch(ids, torch.ones_like(ids), torch.arange(ids.shape[1], device=ids.device).expand_as(ids), (0,) * len(ids))
        passes: list[Pass] = []
        signals = observe(
            learner.parts,
            find_signal_places(sequences, batch),
            self._own_heads(),
            learner.parts.token_rows,
            lambda: passes.append(run_part(learner, part)),
        )
        return passes[0], signals

    def _own_heads(self) -> PhaseHeads:
        """The student's heads, in the order of the teacher's."""
        used = {P1: self.teaching.has_phase1, P2: self.teaching.has_phase2}
        return self._heads_of(used, [(match.student_layer, match.student_head) for match in self.matches])

    def _heads_of(self, used: Mapping[str, bool], heads: Sequence[Head]) -> PhaseHeads:
        by_phase = {
            phase: tuple(
                head for slot, head in zip(self.slots, heads, strict=True) if used[phase] and slot.matched_phase == phase
            )
            for phase in (P1, P2)
        }
        return PhaseHeads(by_phase[P1], by_phase[P2])

    def _scale(self, phase: str, device: torch.device) -> Float[Tensor, " head"]:
        heads = self._asked.early if phase == P1 else self._asked.refine
        return torch.tensor([self.lecturer.scales[phase][head] for head in heads], dtype=torch.float32, device=device)

    def _weight(self, term: Term, taught: TeacherBatch) -> Tensor:
        phase, signals, rows = _side(term, (taught.phase1, taught.phase2), taught)
        if term in (P1_TERMS[0], P2_TERMS[0]):
            return reading_weight(signals, rows)
        if term in (P1_TERMS[1], P2_TERMS[1]):
            return write_weight(signals, rows)
        return interaction_weight(rows, self._scale(phase, torch.device("cpu")))

    def _loss(self, term: Term, done: Pass, signals: tuple[PhaseSignals, PhaseSignals] | None, taught: TeacherBatch) -> Weighted:
        """One term of a part."""
        if term == DISTRIBUTION or signals is None:
            places, ids, log_probs = _rows_of(done.part, taught.likeliest)
            return distribution_loss(done.logits[places.to(done.logits.device)], ids, log_probs)
        phase, own, rows = _side(term, signals, taught)
        _, aimed, _ = _side(term, (taught.phase1, taught.phase2), taught)
        device_type = own.reading.device.type
        with torch.autocast(device_type, enabled=False):
            if term in (P1_TERMS[0], P2_TERMS[0]):
                return reading_loss(own, aimed, rows)
            if term in (P1_TERMS[1], P2_TERMS[1]):
                return write_loss(self._maps[phase](own.writes), aimed, rows)
            return interaction_loss(own, aimed, rows, self._scale(phase, own.mass.device))

    def state(self) -> dict[str, Any]:  # tensors and rows, as they are stored
        """Maps and matches."""
        maps = {name: weight.detach().cpu().clone() for name, weight in self._maps.state_dict().items()}
        return {"maps": maps, "matches": [astuple(match) for match in self.matches]}

    def take_up(self, state: Mapping[str, Any]) -> None:  # as `state` made it
        """Go on from a state."""
        self._maps.load_state_dict(state["maps"])
        self.matches = tuple(HeadMatch(*row) for row in state["matches"])


def _new_map(d_student: int, d_teacher: int, seed: int) -> nn.Linear:
    """A map of writes, drawn by the seed; the lengths of what it gives are about those it is given."""
    made: nn.Linear = nn.utils.skip_init(nn.Linear, d_student, d_teacher, bias=False)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        made.weight.normal_(std=d_teacher**-0.5, generator=torch.Generator().manual_seed(seed))
    return made


def _side(term: Term, signals: tuple[PhaseSignals, PhaseSignals], taught: TeacherBatch) -> tuple[str, PhaseSignals, PhaseRows]:
    """Phase of a term, and signals and rows of that phase."""
    return (P1, signals[0], taught.rows1) if term in P1_TERMS else (P2, signals[1], taught.rows2)


def _rows_of(
    part: Part, likeliest: Likeliest | None
) -> tuple[Int[Tensor, " target"], Int[Tensor, "target k"], Float[Tensor, "target k"]]:
    """Places among a part's learnt tokens that the teacher has a distribution for, with its likeliest tokens there."""
    if likeliest is None:
        raise ValueError("the teacher's next tokens were not read")
    width = part.batch.token_ids.shape[1]
    device = likeliest.rows.device
    learnt = part.batch.rows.to(device)
    starts = torch.arange(len(likeliest.rows), device=device)[:, None] * width
    asked = (likeliest.rows + starts)[likeliest.is_row]
    places = torch.searchsorted(learnt, asked).clamp(max=max(len(learnt) - 1, 0))
    is_learnt: Bool[Tensor, " row"] = learnt[places] == asked if len(learnt) else torch.zeros_like(asked, dtype=torch.bool)
    ids, log_probs = likeliest.token_ids[likeliest.is_row], likeliest.log_probs[likeliest.is_row]
    return places[is_learnt], ids[is_learnt], log_probs[is_learnt]


@torch.no_grad()
def student_profiles(learner: Learner, watched: Watched) -> Profiles:
    """Scores of all heads of a student, means over documents; NaN where none has what is measured."""
    found = []
    with learner.prepared():
        for places in by_length(watched.sequences, MATCH_BATCH):
            chosen = [watched.sequences[place] for place in places]
            batch = pad([one.token_ids for one in chosen], watched.pad_id).to(learner.device)
            scores = score_documents(measure_rows(learner.parts, chosen, batch))
            found.append(np.stack(list(vars(scores).values()), axis=-1))  # [document, layer, head, score]
    every = np.concatenate(found)
    count = np.isfinite(every).sum(axis=0)
    return np.where(count > 0, np.nansum(every, axis=0) / np.maximum(count, 1), np.nan)
