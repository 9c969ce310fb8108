"""Annotated text as tokens: the same places, as positions of tokens and rows that predict them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from schemas.errors import ModelRefusedError
from tasks.sequences.annotated import AnnotatedText, Candidate, Refinement, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = Int[np.ndarray, " token"]
Positions = Int[np.ndarray, " place"]
Pairs = Int[np.ndarray, "row 2"]


@dataclass(frozen=True)
class TokenSequence:
    """One document and trace as tokens; every position is an index into `token_ids`.

    Q_early are the rows from which the first token of a shortlisted label is predicted (its position minus one), Q_refine those
    from which the first token is predicted in which the label a refinement step argues for differs from its near miss.
    """

    document_id: str
    trace_id: str
    token_ids: Tokens
    document: Positions
    anchors: Positions
    response_start: int
    refine_start: int
    early_rows: Positions
    """Q_early, one a located candidate, in the order of the shortlist."""
    early_tokens: Positions
    """The token id that stands after each row of Q_early."""
    candidate_spans: tuple[Positions, ...]
    """Positions of the tokens of each located candidate's first mention, in the order of the shortlist."""
    is_kept: Bool[np.ndarray, " candidate"]
    candidate_labels: Positions
    """Label id of each located candidate."""
    refine_rows: Positions
    """Q_refine, one a usable refinement step."""
    margin_tokens: Pairs
    """Token ids of target and near miss where their names first differ, one pair a row of Q_refine."""
    refine_labels: Pairs
    """Label ids of target and near miss, one pair a row of Q_refine."""
    refine_positions: tuple[float, ...]
    """Relative position (0 to 1) of the step of each row of Q_refine in its trace."""
    cut_count: int = 0
    """Places lost because the sequence was cut, or because target and near miss begin alike to the end."""


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer that does not say which characters a token stands for.

    Raises:
        ModelRefusedError: it is not a fast one.
    """
    if not tokenizer.is_fast:
        raise ModelRefusedError(
            f"the tokenizer of {tokenizer.name_or_path!r} ({type(tokenizer).__name__}) gives no character offsets; a fast one is "
            "needed: a folder with a tokenizer.json"
        )


def adds_specials(text: str, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """True if the tokenizer may add its special tokens to this text: it does not begin with one, as chat templates write."""
    first = (tokenizer.bos_token, tokenizer.cls_token)
    return not any(token and text.startswith(str(token)) for token in first)


def tokenize(
    annotated: AnnotatedText, tokenizer: "PreTrainedTokenizerBase", max_tokens: int, names: Mapping[int, str]
) -> TokenSequence:
    """Annotated text as tokens, its first `max_tokens`, with every place as positions.

    A place that touches a token beyond the cut, a row without a token before it, and a pair whose tokens are unknown to the
    tokenizer or do not differ are left out and counted.

    Args:
        annotated: the text.
        tokenizer: any fast tokenizer.
        max_tokens: longest sequence.
        names: what would be written for a label, to compare a near miss with its target.

    Raises:
        ModelRefusedError: the tokenizer gives no offsets.
    """
    check_tokenizer(tokenizer)
    whole = _encode(annotated.text, tokenizer, max_tokens)
    early = _early(annotated, whole)
    refine = _refine(annotated, whole, tokenizer, names)
    anchors = [whole.positions(span) for span in annotated.anchors]
    lost = sum(found is None for found in anchors) + len(annotated.candidates) - len(early)
    return TokenSequence(
        document_id=annotated.document_id,
        trace_id=annotated.trace_id,
        token_ids=whole.ids,
        document=whole.overlapping(annotated.document),
        anchors=np.unique(np.concatenate([found for found in anchors if found is not None] or [_NONE])),
        response_start=whole.first_from(annotated.response_start),
        refine_start=whole.first_from(annotated.refine_start),
        early_rows=_ints([one.positions[0] - 1 for one in early]),
        early_tokens=_ints([whole.ids[one.positions[0]] for one in early]),
        candidate_spans=tuple(one.positions for one in early),
        is_kept=np.array([one.candidate.is_kept for one in early], dtype=np.bool_),
        candidate_labels=_ints([one.candidate.label_id for one in early]),
        refine_rows=_ints([one.position - 1 for one in refine]),
        margin_tokens=_pairs([one.tokens for one in refine]),
        refine_labels=_pairs([(one.refinement.target_label_id, one.refinement.near_miss_label_id) for one in refine]),
        refine_positions=tuple(one.refinement.position for one in refine),
        cut_count=lost + len(annotated.refinements) - len(refine),
    )


_NONE = np.zeros(0, np.int64)


def _ints(values: Sequence[int]) -> Positions:
    return np.array(values, dtype=np.int64)


def _pairs(values: Sequence[tuple[int, int]]) -> Pairs:
    return np.array(values, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class _Encoded:
    """Tokens of a text: ids, the characters each stands for [token, 2], and the id of unknown words, -1 if there is none."""

    ids: Tokens
    offsets: Int[np.ndarray, "token 2"]
    token_count: int
    """Tokens before the cut."""
    unknown_id: int

    def overlapping(self, span: Span) -> Positions:
        """Positions of the tokens that stand for some character of a span."""
        starts, ends = self.offsets[:, 0], self.offsets[:, 1]
        return np.flatnonzero((starts < span.end) & (ends > span.start) & (ends > starts)).astype(np.int64)

    def positions(self, span: Span) -> Positions | None:
        """The same, or None if the cut took one of them, or there is none."""
        found = self.overlapping(span)
        is_cut = self.token_count > len(self.ids) and (not len(found) or self.offsets[:, 1].max(initial=0) < span.end)
        return None if is_cut or not len(found) else found

    def first_from(self, start: int) -> int:
        """Position of the first token with a character from `start` on; the length of the sequence if there is none."""
        found = np.flatnonzero(self.offsets[:, 1] > start)
        return int(found[0]) if len(found) else len(self.ids)


def _encode(text: str, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> _Encoded:
    return _encode_all([text], adds_specials(text, tokenizer), tokenizer, max_tokens)[0]


def _encode_all(
    texts: Sequence[str], has_specials: bool, tokenizer: "PreTrainedTokenizerBase", max_tokens: int | None = None
) -> list[_Encoded]:
    if not texts:
        return []
    out = tokenizer(list(texts), add_special_tokens=has_specials, return_offsets_mapping=True, truncation=False, verbose=False)
    unknown = tokenizer.unk_token_id
    return [
        _Encoded(
            np.array(ids[:max_tokens], dtype=np.int64),
            np.array(offsets[:max_tokens], dtype=np.int64).reshape(-1, 2),
            len(ids),
            -1 if unknown is None else int(unknown),
        )
        for ids, offsets in zip(out["input_ids"], out["offset_mapping"], strict=True)
    ]


@dataclass(frozen=True)
class _Early:
    candidate: Candidate
    positions: Positions


def _early(annotated: AnnotatedText, whole: _Encoded) -> list[_Early]:
    """Candidates whose first mention is whole in the sequence, after another token, and known to the tokenizer."""
    found = []
    for candidate in annotated.candidates:
        positions = whole.positions(candidate.span)
        if positions is not None and positions[0] > 0 and whole.ids[positions[0]] != whole.unknown_id:
            found.append(_Early(candidate, positions))
    return found


@dataclass(frozen=True)
class _Refine:
    refinement: Refinement
    position: int
    """Of the first token in which target and near miss differ."""
    tokens: tuple[int, int]


def _refine(
    annotated: AnnotatedText, whole: _Encoded, tokenizer: "PreTrainedTokenizerBase", names: Mapping[int, str]
) -> list[_Refine]:
    """Refinement steps whose target and near miss differ in a token of the sequence.

    The near miss is tokenised where the target stands: after the same text.
    """
    places = [(one, whole.positions(one.target_span)) for one in annotated.refinements]
    located = [(one, positions) for one, positions in places if positions is not None]
    texts = [annotated.text[: one.target_span.start] + names[one.near_miss_label_id] for one, _ in located]
    others = _encode_all(texts, adds_specials(annotated.text, tokenizer), tokenizer)
    found = []
    for (one, positions), other, text in zip(located, others, texts, strict=True):
        there = other.overlapping(Span(one.target_span.start, len(text)))
        place = _first_difference(whole, positions, other, there)
        if place is not None:
            found.append(_Refine(one, place, (int(whole.ids[place]), int(other.ids[place]))))
    return found


def _first_difference(target: _Encoded, at: Positions, other: _Encoded, there: Positions) -> int | None:
    """The first position in which two names differ; None without one, if a token there is unknown, or the text before differs."""
    if not len(there) or at[0] != there[0] or at[0] == 0 or not np.array_equal(target.ids[: at[0]], other.ids[: at[0]]):
        return None
    length = min(len(at), len(there))
    differing = np.flatnonzero(target.ids[at[:length]] != other.ids[there[:length]])
    if not len(differing):
        return None
    place = int(at[differing[0]])
    return None if target.unknown_id in (target.ids[place], other.ids[place]) else place
