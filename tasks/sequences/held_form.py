"""Decoding held to the compact form: what may be written next, so that every trace is whole and no list names a label twice.

<shortlist> @a @b <refine> <drop> @b w w <keep> @a w w <answer> @a <end>, or <answer> @a <end>
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LIST, REFINE, JUDGE, WORDS, ANSWER = range(5)
"""What is being written: the shortlist; in refinement after its mark, a verdict, or a label and its words; the answers."""

OTHER, LABEL, WORD, VERDICT, TO_REFINE, TO_ANSWER, END = range(7)
"""Kinds of tokens."""
KIND_COUNT = 7
NEVER = -1e30
"""Added to scores of tokens that are not allowed; minus infinity would make zeros of a product no numbers."""

ROOM = (4, 3, 4, 3, 1)
"""Tokens that end a trace from each of these, with one more if nothing is listed there yet: what is left for them is kept."""


@dataclass(frozen=True)
class Form:
    """Token ids of marks, labels and words.

    Attributes:
        refine_id: ends the shortlist.
        answer_id: ends refinement.
        end_id: ends the text.
        verdict_ids: begin a refinement step.
        label_ids: may be named.
        word_ids: may be cited.
        evidence_words: most words of a refinement step.
        has_trace: False: a text is the answers alone.
    """

    refine_id: int
    answer_id: int
    end_id: int
    verdict_ids: tuple[int, ...]
    label_ids: Int[Tensor, " label"]
    word_ids: Int[Tensor, " word"]
    evidence_words: int
    has_trace: bool

    @property
    def least_tokens(self) -> int:
        """Tokens of the shortest text after its first mark."""
        return 5 if self.has_trace else 2


class HeldForm:
    """Rules out next tokens of one batch, which begins after `<shortlist>`, or `<answer>` where there is no trace.

    Called by `generate` as a processor of logits. `is_free` tells of each sequence whether the likeliest token always kept the
    form, repeated labels aside.
    """

    def __init__(self, form: Form, count: int, token_count: int, max_new_tokens: int, device: torch.device) -> None:
        """Begin.

        Args:
            form: what may be written.
            count: sequences.
            token_count: tokens that have a logit.
            max_new_tokens: as `generate` has it, at least `form.least_tokens`: room to end is kept.
            device: of the logits.
        """
        self.form, self.left = form, max_new_tokens
        self.is_free = torch.ones(count, dtype=torch.bool, device=device)
        self._has_begun = False
        self._has_ended = torch.zeros(count, dtype=torch.bool, device=device)
        self._state = torch.full((count,), LIST if form.has_trace else ANSWER, device=device)
        self._written = torch.zeros(count, dtype=torch.long, device=device)
        """Labels of the list that is being written, or words of the step."""
        self._named = torch.zeros(count, token_count, dtype=torch.bool, device=device)
        """Labels named in the section, and how many."""
        self._named_count = torch.zeros(count, dtype=torch.long, device=device)
        self._kinds = _kinds(form, token_count).to(device)
        self._has_kind = torch.zeros(KIND_COUNT, token_count, device=device).scatter_(0, self._kinds[None], 1.0)
        """[kind, token]: a product with it takes what is barred from kinds to tokens, 6 times as fast as by indices."""
        self._room = torch.tensor(ROOM, device=device)

    def __call__(
        self, input_ids: Int[Tensor, "sequence token"], scores: Float[Tensor, "sequence token"]
    ) -> Float[Tensor, "sequence token"]:
        """The scores, `NEVER` or minus infinity where the form does not allow a token."""
        if self._has_begun:
            self._read(input_ids[:, -1])
        self._has_begun = True
        allowed = self._allowed()
        self.is_free &= allowed.gather(1, self._kinds[scores.max(dim=1, keepdim=True).indices]).squeeze(1)
        self.left -= 1
        barred = torch.zeros(allowed.shape, device=scores.device).masked_fill_(~allowed, NEVER)
        return torch.addmm(scores.float(), barred, self._has_kind).masked_fill_(self._named, -torch.inf)

    def _read(self, last: Int[Tensor, " sequence"]) -> None:
        """Take the tokens into account that were written last."""
        kind, was_judged = self._kinds[last], self._state == JUDGE
        self._has_ended |= kind == END
        is_label = kind == LABEL
        is_section = (kind == TO_REFINE) | (kind == TO_ANSWER) | (kind == END)
        self._named[is_section] = False
        self._named[is_label, last[is_label]] = True
        self._named_count = torch.where(is_section, 0, self._named_count + is_label)
        self._written = torch.where((is_label & ~was_judged) | (kind == WORD), self._written + 1, 0)
        for state, is_now in (
            (REFINE, kind == TO_REFINE),
            (JUDGE, kind == VERDICT),
            (WORDS, is_label & was_judged),
            (ANSWER, kind == TO_ANSWER),
        ):
            self._state[is_now] = state

    def _allowed(self) -> Bool[Tensor, "sequence kind"]:
        """Kinds of tokens that may be written next."""
        state, room = self._state, self._room[self._state]
        is_refining, is_listing = (state == REFINE) | (state == WORDS), (state == LIST) | (state == ANSWER)
        has_any, has_new = self._written > 0, self._named_count < len(self.form.label_ids)
        by_kind = {
            LABEL: (state == JUDGE) | (is_listing & has_new & (~has_any | (self.left > room))),
            WORD: (state == WORDS) & (self._written < self.form.evidence_words) & (self.left > room),
            VERDICT: is_refining & has_new & (self.left > room + 1),
            TO_REFINE: (state == LIST) & has_any,
            TO_ANSWER: is_refining,
            END: (state == ANSWER) & has_any,
        }
        allowed = torch.stack([torch.zeros_like(has_any), *(by_kind[kind] for kind in range(1, KIND_COUNT))], dim=1)
        return allowed | self._has_ended[:, None]


def _kinds(form: Form, token_count: int) -> Int[Tensor, " token"]:
    """The kind of every token."""
    kinds = torch.full((token_count,), OTHER)
    kinds[form.label_ids], kinds[form.word_ids], kinds[list(form.verdict_ids)] = LABEL, WORD, VERDICT
    kinds[form.refine_id], kinds[form.answer_id], kinds[form.end_id] = TO_REFINE, TO_ANSWER, END
    return kinds


class Draw:
    """Makes greedy decoding after it draw from softmax(scores / temperature), by inversion of the distribution function.

    It draws from a generator of its own, so that threads that write at once do not change what the others draw.
    """

    def __init__(self, temperature: float, seed: int, device: torch.device) -> None:
        """Begin.

        Args:
            temperature: above 0.
            seed: draws the tokens.
            device: of the logits.
        """
        self.temperature = temperature
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(
        self, input_ids: Int[Tensor, "sequence token"], scores: Float[Tensor, "sequence token"]
    ) -> Float[Tensor, "sequence token"]:
        """Zero for the token that is drawn, minus infinity for all others."""
        reached = (scores.float() / self.temperature).softmax(dim=1).cumsum(dim=1)
        place = torch.rand((len(scores), 1), generator=self.generator, device=scores.device) * reached[:, -1:]
        drawn = torch.searchsorted(reached, place, right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)
