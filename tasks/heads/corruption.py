"""Documents to be patched: each with a corrupted copy of the same length, and what its logits are measured between.

`swap` puts the anchor tokens of another patched document, the donor, where its own anchors stand (from the donor's first again
if it has fewer); `mask` puts a filler token there. In refinement the shortlist may be corrupted in the same way: by then a
decoder reads the candidates, and other anchors alone may change nothing. All else stays as it is: runs are teacher-forced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool

from schemas.errors import ModelRefusedError
from tasks.sequences.tokens import Pairs, Positions, Tokens, TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Corruption = Literal["swap", "mask"]
Phase = Literal["shortlist", "refine"]


@dataclass(frozen=True)
class PatchCase:
    """A document to be patched in one phase.

    `rows` are the phase's rows, where heads are patched; a row's margin is the logit of the first token of its pair minus that
    of the second; rows whose pair says nothing are not measured.
    """

    sequence: TokenSequence
    phase: Phase
    corrupted_ids: Tokens
    rows: Positions
    pairs: Pairs
    is_measured: Bool[np.ndarray, " row"]


def filler_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that masks an anchor: the tokenizer's unknown word, else its padding, else its end of text.

    Raises:
        ModelRefusedError: it has none of them.
    """
    for token in (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise ModelRefusedError(
        f"the tokenizer of {tokenizer.name_or_path!r} has no unknown, padding or end token that could stand for a masked word; "
        "set heads.corruption to swap"
    )


def corrupted(
    sequence: TokenSequence, donor: TokenSequence, corruption: Corruption, filler: int, has_shortlist: bool = False
) -> Tokens:
    """A document's tokens, as many as before, with its anchors swapped for the donor's or masked.

    Args:
        sequence: the document.
        donor: gives anchors and candidates.
        corruption: what stands in place of them.
        filler: the token that masks.
        has_shortlist: also corrupt the candidates that are named before the first row of Q_refine.
    """
    tokens = sequence.token_ids.copy()
    pairs = [(sequence.anchors, donor.anchors)]
    if has_shortlist:
        named = candidate_places(sequence)
        pairs.append((named[named <= sequence.refine_rows.min()], candidate_places(donor)))
    for own, others in pairs:
        other = donor.token_ids[others] if corruption == "swap" and len(others) else np.array([filler])
        tokens[own] = np.resize(other, len(own))
    return tokens


def candidate_places(sequence: TokenSequence) -> Positions:
    """Positions of the tokens of all located candidates."""
    return np.concatenate([*sequence.candidate_spans, np.zeros(0, np.int64)]).astype(np.int64)


def shortlist_pairs(sequence: TokenSequence, donor: TokenSequence) -> tuple[Pairs, Bool[np.ndarray, " row"]]:
    """At each row of Q_early the document's own label and the donor's at the same rank; which pairs can be measured.

    A pair is not measured where the donor has no such rank, or its label's token is one that the document names itself: a
    decoder shuns what it has just written, whatever it reads.
    """
    count = len(sequence.early_tokens)
    other = np.resize(donor.early_tokens, count) if len(donor.early_tokens) else sequence.early_tokens
    is_measured = (np.arange(count) < len(donor.early_tokens)) & ~np.isin(other, sequence.early_tokens)
    return np.stack([sequence.early_tokens, other], axis=1), is_measured


@dataclass(frozen=True)
class Corruptor:
    """How documents are corrupted; `seed` draws who gives anchors to whom; in refinement the shortlist may be corrupted too."""

    corruption: Corruption
    filler: int
    seed: int
    corrupts_shortlist: bool = False


def patchable(sequences: Sequence[TokenSequence], phase: Phase, family: frozenset[int] | None = None) -> list[TokenSequence]:
    """The documents that have anchors to corrupt and rows of the phase to patch.

    Args:
        sequences: documents with traces.
        phase: whose rows.
        family: in refinement, labels that the target and the near miss of some row must both belong to; null: any.
    """
    with_anchors = [one for one in sequences if len(one.anchors)]
    if phase == "shortlist":
        return [one for one in with_anchors if len(one.early_rows)]
    return [one for one in with_anchors if within(one, family).any()]


def patch_cases(
    sequences: Sequence[TokenSequence], phase: Phase, corruptor: Corruptor, family: frozenset[int] | None = None
) -> list[PatchCase]:
    """Documents, as of `patchable`, with their corrupted copies; those without a margin to measure are left out.

    In refinement a margin is that of target over near miss, both of the family. A single document has nobody to swap with, and
    nothing to be measured against: no case.
    """
    donors = [sequences[place] for place in donors_of(len(sequences), corruptor.seed)] if len(sequences) > 1 else []
    found = []
    for one, donor in zip(sequences, donors, strict=False):
        has_shortlist = corruptor.corrupts_shortlist and phase == "refine"
        tokens = corrupted(one, donor, corruptor.corruption, corruptor.filler, has_shortlist)
        if phase == "shortlist":
            pairs, is_measured = shortlist_pairs(one, donor)
            found.append(PatchCase(one, phase, tokens, one.early_rows, pairs, is_measured))
        else:
            found.append(PatchCase(one, phase, tokens, one.refine_rows, one.margin_tokens, within(one, family)))
    return [case for case in found if case.is_measured.any()]


def within(sequence: TokenSequence, family: frozenset[int] | None) -> Bool[np.ndarray, " row"]:
    """Which rows of Q_refine have target and near miss in the family."""
    if family is None:
        return np.ones(len(sequence.refine_rows), dtype=np.bool_)
    return np.asarray(np.isin(sequence.refine_labels, sorted(family)).all(axis=1))


def donors_of(count: int, seed: int) -> list[int]:
    """Whose anchors each document gets: the next one's in a random circle, so never its own."""
    order = np.random.default_rng(seed).permutation(count)
    donors = np.empty(count, dtype=np.int64)
    donors[order] = np.roll(order, -1)
    return [int(donor) for donor in donors]
