"""What is patched: documents by phase, in blocks that hang on nothing but themselves, and sets of heads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from schemas.config import HeadsConfig
from schemas.errors import EmptyTargetError
from tasks.heads.corruption import Corruptor, PatchCase, Phase, patch_cases, patchable
from tasks.heads.head_sets import Head, HeadSet, check_bins, choose_sets, scaled_bins
from tasks.heads.label_family import Family, label_family
from tasks.labels.search import LabelIndex
from tasks.sequences.tokens import TokenSequence

PHASE_SCORES: Mapping[Phase, str] = {"shortlist": "coarse_score", "refine": "refine_score"}
"""By which score a phase's heads are ranked."""


@dataclass(frozen=True)
class Block:
    """Documents that are patched in one phase and stored together."""

    phase: Phase
    number: int
    cases: tuple[PatchCase, ...]


@dataclass(frozen=True)
class PatchPlan:
    """The documents of each phase; none where fewer than two can be patched in it.

    `family` is the label family that refinement is measured in; null if none leaves documents enough, and all are taken.
    """

    cases: Mapping[Phase, tuple[PatchCase, ...]]
    family: Family | None
    no_anchor_count: int
    """Documents that were left out because nothing in them could be corrupted."""

    def blocks(self, size: int) -> Iterator[Block]:
        """All documents, `size` a block."""
        for phase, cases in self.cases.items():
            for number, start in enumerate(range(0, len(cases), size)):
                yield Block(phase, number, cases[start : start + size])

    @property
    def refinement_text(self) -> str:
        """What refinement is measured on, for a log line and the verdicts."""
        count = len(self.cases["refine"])
        if self.family is None:
            return f"{count} documents, all labels: no closed family of labels leaves enough"
        return (
            f"{count} of the {self.family.document_count} documents that refine in a closed family of "
            f"{len(self.family.label_ids)} labels"
        )


def plan_patches(sequences: Sequence[TokenSequence], index: LabelIndex, corruptor: Corruptor, settings: HeadsConfig) -> PatchPlan:
    """Which documents are patched in each phase, drawn from those that can be; each with its corrupted copy.

    Args:
        sequences: test documents with traces.
        index: forms the label family.
        corruptor: how documents are corrupted.
        settings: documents a phase, whether the shortlist is corrupted too, size of the family, seed.

    Raises:
        EmptyTargetError: in neither phase there are two documents that can be patched.
    """
    corruptor = replace(corruptor, corrupts_shortlist=settings.corrupts_shortlist)
    known = sorted(sequences, key=lambda one: one.document_id)
    drawn = [known[place] for place in np.random.default_rng(settings.seed).permutation(len(known))]
    with_anchors = [one for one in drawn if len(one.anchors)]
    best = label_family(with_anchors, index, settings.family_size)
    family = best if best and best.is_large_enough else None
    labels = family.label_ids if family else None
    shortlisting = patchable(drawn, "shortlist")[: settings.patch_documents]
    refining = patchable(drawn, "refine", labels)[: settings.patch_documents]
    cases: dict[Phase, tuple[PatchCase, ...]] = {
        "shortlist": tuple(patch_cases(shortlisting, "shortlist", corruptor)),
        "refine": tuple(patch_cases(refining, "refine", corruptor, labels)),
    }
    if not any(cases.values()):
        raise EmptyTargetError(
            f"patching needs two documents with anchors and steps of a phase; of {len(drawn)} test documents with a trace "
            f"{len(with_anchors)} have anchors, {len(shortlisting)} of them a shortlist and {len(refining)} a refinement step; "
            "trace more test documents, or leave heads.model null"
        )
    return PatchPlan(cases, family, len(drawn) - len(with_anchors))


def plan_sets(scores: pl.DataFrame, settings: HeadsConfig) -> dict[Phase, list[HeadSet]]:
    """The sets of heads that are patched in each phase, by its score.

    Args:
        scores: `core_head_scores` of one model, a row a head.
        settings: bins, random draws, seed.

    Raises:
        ConfigError: a bin is larger than half of the heads.
    """
    count = scores.height
    bins = scaled_bins(count) if settings.bins is None else check_bins(settings.bins, count)
    found: dict[Phase, list[HeadSet]] = {}
    for phase, name in PHASE_SCORES.items():
        by_head: dict[Head, float | None] = {
            (layer, head): score for layer, head, score in scores.select("layer", "head", name).iter_rows()
        }
        found[phase] = choose_sets(by_head, bins, settings.random_draws, settings.seed)
    return found
