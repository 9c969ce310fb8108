"""What a decoder has generated, as steps with a meaning: how its text is read, and Focus and Confusion of what it says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from schemas.errors import ModelRefusedError
from tasks.labels.search import Vectors
from tasks.sequences.compact import ANSWER, END, REFINE, SHORTLIST, CompactForm, read_compact, spoken_steps
from tasks.sequences.tokens import TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Written = Literal["shortlist", "refine", "whole"]
"""What is generated: one of the phases, or a whole trace."""


@dataclass(frozen=True)
class SpokenForm:
    """How generated text is read.

    `mark_count` tokens that open a phase are given to the decoder; `stops` end what is generated, `limits` are its most tokens,
    and `read` gives its steps as readable texts.
    """

    mark_count: int
    stops: Mapping[Written, frozenset[int]]
    limits: Mapping[Written, int]
    read: Callable[[Written, Sequence[int]], list[str]]


def compact_form(tokenizer: "PreTrainedTokenizerBase", form: CompactForm, sequences: Sequence[TokenSequence]) -> SpokenForm:
    """The form of the decoder that was trained on compact traces: its phases are marked.

    Args:
        tokenizer: of that decoder.
        form: tokens and names of the labels.
        sequences: traces that tell how long a phase may be.
    """
    ends = {mark: int(tokenizer.convert_tokens_to_ids(mark)) for mark in (REFINE, ANSWER, END)}  # type: ignore[arg-type]
    opened: dict[Written, str] = {"shortlist": SHORTLIST, "refine": f"{SHORTLIST} {REFINE}", "whole": SHORTLIST}

    def read(written: Written, token_ids: Sequence[int]) -> list[str]:
        said = " ".join([opened[written], *tokenizer.convert_ids_to_tokens(list(token_ids))])
        steps = spoken_steps(read_compact(said, form.label_ids), form.names)
        return [step.text for step in steps if written in ("whole", step.phase)]

    return SpokenForm(
        mark_count=1,
        stops={
            "shortlist": frozenset(ends.values()),
            "refine": frozenset((ends[ANSWER], ends[END])),
            "whole": frozenset((ends[END],)),
        },
        limits=limits_of(sequences),
        read=read,
    )


def text_form(tokenizer: "PreTrainedTokenizerBase", sequences: Sequence[TokenSequence]) -> SpokenForm:
    """The form of a model that writes plain text: each line is a step, and only its end token or a limit ends a phase.

    Args:
        tokenizer: of that model.
        sequences: traces that tell how long a phase may be.

    Raises:
        ModelRefusedError: the tokenizer has no end token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelRefusedError(f"the tokenizer of {tokenizer.name_or_path!r} has no end token, so nothing generated would end")

    def read(_: Written, token_ids: Sequence[int]) -> list[str]:
        lines = str(tokenizer.decode(list(token_ids), skip_special_tokens=True)).splitlines()
        return [line.strip() for line in lines if line.strip()]

    stops = frozenset((int(tokenizer.eos_token_id),))
    return SpokenForm(0, {"shortlist": stops, "refine": stops, "whole": stops}, limits_of(sequences), read)


def limits_of(sequences: Sequence[TokenSequence]) -> dict[Written, int]:
    """As many tokens as the longest phase, and the longest trace, of these: what goes on longer has lost its way."""
    lengths: dict[Written, list[int]] = {
        "shortlist": [one.refine_start - one.response_start for one in sequences],
        "refine": [len(one.token_ids) - one.refine_start for one in sequences],
        "whole": [len(one.token_ids) - one.response_start for one in sequences],
    }
    return {written: max(1, *found) for written, found in lengths.items()}


@dataclass(frozen=True)
class Meaning:
    """Unit vectors of documents, their near misses N(x) (none: Confusion is undefined), and of any text, each embedded once."""

    documents: Mapping[str, Vectors]
    near: Mapping[str, Vectors]
    embed: Callable[[list[str]], Vectors]
    _known: dict[str, Vectors] = field(default_factory=dict)

    def learn(self, texts: Iterable[str]) -> None:
        """Embed those of these texts that are new, together."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.embed(new), strict=True))

    def focus(self, document_id: str, steps: Sequence[str]) -> Vectors:
        """cos(e(r_q), e(x)) of each step, as Focus is defined; nothing without steps."""
        return np.asarray(self._vectors(steps) @ self.documents[document_id], dtype=np.float32)

    def confusion(self, document_id: str, steps: Sequence[str]) -> Vectors:
        """Mean over N(x) of cos(e(r_q), e(label)) of each step, as Confusion is defined; nothing without steps or N(x)."""
        near = self.near.get(document_id)
        if near is None or not len(near):
            return np.zeros(0, np.float32)
        return np.asarray((self._vectors(steps) @ near.T).mean(axis=1), dtype=np.float32)

    def _vectors(self, steps: Sequence[str]) -> Vectors:
        self.learn(steps)
        dimension = len(next(iter(self.documents.values())))
        return np.stack([self._known[step] for step in steps]) if steps else np.zeros((0, dimension), np.float32)


def trajectory_rows(document_id: str, steps: Sequence[str], meaning: Meaning, bin_count: int) -> pl.DataFrame:
    """Focus and Confusion of a generated trace by relative position: `core_trajectories` without dataset and system.

    A position is the middle of its bin; a bin without a step has no row.

    Args:
        document_id: whose trace.
        steps: its steps in order.
        meaning: vectors.
        bin_count: bins of relative position.
    """
    places = np.arange(len(steps)) / max(len(steps) - 1, 1)
    bins = np.minimum((places * bin_count).astype(np.int64), bin_count - 1)
    rows = []
    for quantity, values in (("focus", meaning.focus(document_id, steps)), ("confusion", meaning.confusion(document_id, steps))):
        for place in np.unique(bins[: len(values)]).tolist():
            inside = values[bins == place]
            rows.append((document_id, quantity, (place + 0.5) / bin_count, float(inside.mean()), len(inside)))
    return pl.DataFrame(rows, schema=["document_id", "quantity", "position", "value", "step_count"], orient="row")
