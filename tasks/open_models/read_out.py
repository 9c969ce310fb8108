"""What a decoder student writes of documents, and how it ranks labels: by its answers, or the distribution before them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from schemas.errors import ModelRefusedError
from tasks.sequences.batches import pad
from tasks.sequences.compact import ANSWER, END, MARKS, REFINE, SHORTLIST, VERDICTS, WrittenTrace
from tasks.sequences.generation import Process, continue_greedily
from tasks.sequences.held_form import Draw, Form, HeldForm

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TokenIds = list[int]


@dataclass(frozen=True)
class Speaker:
    """A student that reads and writes compact text, in evaluation mode; `has_trace` False: it answers at once.

    `label_ids` are the labels that have a token, in the order of `label_tokens`.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    has_trace: bool
    pad_id: int
    open_id: int
    label_ids: Int[np.ndarray, " label"]
    form: Form

    @property
    def label_tokens(self) -> Int[Tensor, " label"]:
        """Tokens of the labels."""
        return self.form.label_ids

    def text(self, token_ids: Sequence[int]) -> str:
        """Token ids as compact text."""
        return " ".join(self.tokenizer.convert_ids_to_tokens(list(token_ids)))


def make_speaker(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Mapping[int, str],
    has_trace: bool,
    evidence_words: int,
) -> Speaker:
    """A student ready to write.

    Args:
        model: a causal decoder.
        tokenizer: with a token for every mark and for the labels it can name.
        tokens: token of each label id; labels whose token it does not know cannot be predicted.
        has_trace: it writes its reasoning before it answers.
        evidence_words: most words that a refinement step keeps.

    Raises:
        ModelRefusedError: the tokenizer lacks a mark, or every label.
    """
    known = tokenizer.get_vocab()
    missing = [mark for mark in (SHORTLIST, REFINE, ANSWER, END, *VERDICTS.values()) if mark not in known]
    named = [(label, known[token]) for label, token in sorted(tokens.items()) if token in known]
    if missing or not named:
        raise ModelRefusedError(
            f"{tokenizer.name_or_path}: no token for {', '.join(missing) or 'any label'}, so it does not write compact traces; "
            "students of a folder's chat model are evaluated by serving them: `transformers serve`, then `ctd trace`"
        )
    others = {*tokens.values(), *MARKS, *tokenizer.all_special_tokens}
    form = Form(
        refine_id=known[REFINE],
        answer_id=known[ANSWER],
        end_id=known[END],
        verdict_ids=tuple(known[mark] for mark in VERDICTS.values()),
        label_ids=torch.tensor([token for _, token in named]),
        word_ids=torch.tensor([token for text, token in sorted(known.items()) if text not in others], dtype=torch.long),
        evidence_words=evidence_words,
        has_trace=has_trace,
    )
    return Speaker(
        model,
        tokenizer,
        has_trace,
        pad_id=0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id),
        open_id=known[SHORTLIST if has_trace else ANSWER],
        label_ids=np.array([label for label, _ in named], dtype=np.int64),
        form=form,
    )


@dataclass(frozen=True)
class Writing:
    """How a student writes.

    Attributes:
        max_tokens: most tokens after the mark that opens a trace; what goes on longer has lost its way.
        batch_size: sequences at once.
        is_held: to the form, see `held_form`; else whatever is likeliest is written.
        temperature: of traces that are drawn.
        seed: draws them.
    """

    max_tokens: int
    batch_size: int
    is_held: bool = True
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """One trace with the mark that opens it; `is_free` False: it had to be held to the form."""

    token_ids: TokenIds
    is_free: bool = True


def write_traces(speaker: Speaker, prompts: Sequence[TokenIds], writing: Writing) -> list[Written]:
    """What the student writes greedily after each document.

    Args:
        speaker: the student.
        prompts: the documents' parts of compact texts.
        writing: how.
    """
    return _write(speaker, prompts, writing, is_drawn=False)


def draw_traces(speaker: Speaker, prompts: Sequence[TokenIds], writing: Writing, count: int) -> list[list[TokenIds]]:
    """So many traces drawn for each document; the same arguments draw the same ones.

    Args:
        speaker: the student.
        prompts: the documents' parts of compact texts.
        writing: how.
        count: traces a document.
    """
    repeated = [prompt for prompt in prompts for _ in range(count)]
    said = [one.token_ids for one in _write(speaker, repeated, writing, is_drawn=True)]
    return [said[place : place + count] for place in range(0, len(said), count)]


def _write(speaker: Speaker, prompts: Sequence[TokenIds], writing: Writing, is_drawn: bool) -> list[Written]:
    model, form = speaker.model, speaker.form
    max_tokens = max(writing.max_tokens, form.least_tokens)
    opened = [[*prompt, speaker.open_id] for prompt in prompts]
    held: list[tuple[Sequence[int], HeldForm]] = []

    def process(places: Sequence[int]) -> Iterator[Process]:
        if writing.is_held:
            held.append((places, HeldForm(form, len(places), int(model.config.vocab_size), max_tokens, model.device)))
            yield held[-1][1]
        if is_drawn:
            yield Draw(writing.temperature, writing.seed + places[0], model.device)

    said = continue_greedily(
        model, opened, speaker.pad_id, form.end_id, max_tokens, writing.batch_size, process=lambda places: list(process(places))
    )
    is_free = {place: free for places, one in held for place, free in zip(places, one.is_free.tolist(), strict=True)}
    return [Written([speaker.open_id, *ids], is_free.get(place, True)) for place, ids in enumerate(said)]


def is_whole(text: str, read: WrittenTrace, has_trace: bool) -> bool:
    """True if what was written keeps the form: of a trace, or of answers alone (labels between `<answer>` and `<end>`).

    Args:
        text: what was written.
        read: what it says.
        has_trace: the student writes its reasoning.
    """
    if has_trace:
        return read.is_whole
    tokens = text.split()
    body = tokens[1:-1]
    return tokens[0] == ANSWER and tokens[-1] == END and bool(body) and len(body) == len(set(body)) == len(read.answers)


def rationale(text: str) -> str:
    """A trace without its answer section."""
    tokens = text.split()
    return " ".join(tokens[: tokens.index(ANSWER)] if ANSWER in tokens else [token for token in tokens if token != END])


def until_answer(written: TokenIds, speaker: Speaker) -> TokenIds:
    """What was written up to and with `<answer>`; a trace that never reaches it gets it, in place of its end."""
    answer, end = speaker.form.answer_id, speaker.form.end_id
    if answer in written:
        return written[: written.index(answer) + 1]
    return [*(one for one in written if one != end), answer]


@dataclass(frozen=True)
class NextLabels:
    """The most probable labels at the first answer position, best first: label ids and log-probabilities in nats."""

    label_ids: Int[np.ndarray, "document label"]
    nats: Float[np.ndarray, "document label"]


@torch.inference_mode()
def next_labels(speaker: Speaker, contexts: Sequence[Sequence[TokenIds]], count: int, batch_size: int) -> NextLabels:
    """Labels by log p(label token | document, own trace, `<answer>`), over the whole vocabulary, a mean of p over own traces.

    With traces that were drawn the mean estimates p(label | document), the trace summed out.

    Args:
        speaker: the student.
        contexts: of each document its prompt with `until_answer`, once for each of its traces, of all documents as many.
        count: labels a document, fewer if fewer have a token.
        batch_size: contexts at once.
    """
    kept = min(count, len(speaker.label_ids))
    places, nats = np.zeros((len(contexts), kept), np.int64), np.zeros((len(contexts), kept), np.float64)
    order = sorted(range(len(contexts)), key=lambda place: -len(contexts[place][0]))
    each = max(1, batch_size // max((len(one) for one in contexts), default=1))
    for start in range(0, len(order), each):
        chosen = order[start : start + each]
        log_probs = _label_log_probs(speaker, [context for place in chosen for context in contexts[place]])
        traces = log_probs.view(len(chosen), -1, log_probs.shape[1])
        best = (traces.logsumexp(dim=1) - math.log(traces.shape[1])).topk(kept)
        places[chosen], nats[chosen] = best.indices.cpu().numpy(), best.values.cpu().numpy()
    return NextLabels(speaker.label_ids[places], nats)


def _label_log_probs(speaker: Speaker, contexts: Sequence[TokenIds]) -> Float[Tensor, "context label"]:
    device = speaker.model.device
    batch = pad(contexts, speaker.pad_id, "left").to(device)
    logits: Tensor = speaker.model(
        input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids, logits_to_keep=1
    ).logits[:, -1]
    return logits.float().log_softmax(dim=-1)[:, speaker.label_tokens.to(device)]


def rank_labels(answers: Sequence[int], labels: Sequence[int], nats: Sequence[float]) -> list[tuple[int, float]]:
    """Labels with scores, best first: the answers in the order written, then the others by the distribution.

    Scores of answers count down to 1, those of the others are log-probabilities, below 0: they carry the order within one list.

    Args:
        answers: label ids as written; none to rank by the distribution alone.
        labels: label ids, most probable first.
        nats: their log-probabilities.
    """
    named = [(label, float(len(answers) - place)) for place, label in enumerate(answers)]
    said = set(answers)
    return named + [(label, float(nat)) for label, nat in zip(labels, nats, strict=True) if label not in said]
