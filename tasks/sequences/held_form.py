"""Decoding held to the compact form: what may be written next, so that every trace is whole and no list names a label twice.

<shortlist> @a @b <refine> <drop> @b w w <keep> @a w w <answer> @a <end>, or <answer> @a <end>
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LIST, REFINE, JUDGE, WORDS, ANSWER = range(5)
"""What is being written: the shortlist; in refinement after its mark, a verdict, or a label and its words; the answers."""

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
        """Labels named in the section."""
        self._is_label, self._is_word, self._is_verdict = (
            torch.zeros(token_count, dtype=torch.bool, device=device).index_fill(0, ids.to(device), True)
            for ids in (form.label_ids, form.word_ids, torch.tensor(form.verdict_ids))
        )
        self._room = torch.tensor(ROOM, device=device)

    def __call__(
        self, input_ids: Int[Tensor, "sequence token"], scores: Float[Tensor, "sequence token"]
    ) -> Float[Tensor, "sequence token"]:
        """The scores, minus infinity where the form does not allow a token."""
        if self._has_begun:
            self._read(input_ids[:, -1])
        self._has_begun = True
        allowed = self._allowed()
        self.is_free &= allowed.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1)
        is_new = ~self._named | self._has_ended[:, None]
        self.left -= 1
        return scores.masked_fill(~(allowed & is_new), -torch.inf)

    def _read(self, last: Int[Tensor, " sequence"]) -> None:
        """Take the tokens into account that were written last."""
        form, was_judged = self.form, self._state == JUDGE
        self._has_ended |= last == form.end_id
        is_label, is_word = self._is_label[last], self._is_word[last]
        is_section = (last == form.refine_id) | (last == form.answer_id)
        self._named[is_section] = False
        self._named[is_label, last[is_label]] = True
        self._written = torch.where((is_label & ~was_judged) | is_word, self._written + 1, 0)
        for state, is_now in (
            (REFINE, last == form.refine_id),
            (JUDGE, self._is_verdict[last]),
            (WORDS, is_label & was_judged),
            (ANSWER, last == form.answer_id),
        ):
            self._state[is_now] = state

    def _allowed(self) -> Bool[Tensor, "sequence token"]:
        """What may be written next, labels that were named included."""
        form, state, room = self.form, self._state, self._room[self._state]
        is_refining, is_listing = (state == REFINE) | (state == WORDS), (state == LIST) | (state == ANSWER)
        has_any, has_new = self._written > 0, (self._is_label & ~self._named).any(dim=1)
        may_name = (state == JUDGE) | (is_listing & has_new & (~has_any | (self.left > room)))
        may_cite = (state == WORDS) & (self._written < form.evidence_words) & (self.left > room)
        may_judge = is_refining & has_new & (self.left > room + 1)
        allowed = (may_name[:, None] & self._is_label) | (may_cite[:, None] & self._is_word)
        allowed |= may_judge[:, None] & self._is_verdict
        allowed[:, form.refine_id] = (state == LIST) & has_any
        allowed[:, form.answer_id] = is_refining
        allowed[:, form.end_id] = (state == ANSWER) & has_any
        return allowed | self._has_ended[:, None]


class GumbelNoise:
    """Makes the likeliest token a draw: greedy decoding after it samples from softmax(scores / temperature).

    Source: the Gumbel-max trick, Maddison, Tarlow and Minka 2014, arXiv:1411.0030, section 2. It draws from a generator of its
    own, so that threads that write at once do not change what the others draw.
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
        """The scores over the temperature, with noise."""
        drawn = torch.empty_like(scores, dtype=torch.float32).exponential_(generator=self.generator)
        return scores.float() / self.temperature - drawn.log()
