"""What a decoder student writes of documents, and how it ranks labels: by its answers, or the distribution before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from schemas.errors import ModelRefusedError
from tasks.sequences.batches import pad
from tasks.sequences.compact import ANSWER, END, SHORTLIST, WrittenTrace, read_compact
from tasks.sequences.generation import continue_greedily

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TokenIds = list[int]


@dataclass(frozen=True)
class Speaker:
    """A student that reads and writes compact text, in evaluation mode; `has_trace` False: it answers at once.

    `label_ids` and `label_tokens` are the labels that have a token, and their tokens, in the same order.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    has_trace: bool
    pad_id: int
    end_id: int
    answer_id: int
    open_id: int
    label_ids: Int[np.ndarray, " label"]
    label_tokens: Int[Tensor, " label"]

    def text(self, token_ids: Sequence[int]) -> str:
        """Token ids as compact text."""
        return " ".join(self.tokenizer.convert_ids_to_tokens(list(token_ids)))


def make_speaker(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", tokens: Mapping[int, str], has_trace: bool
) -> Speaker:
    """A student ready to write.

    Args:
        model: a causal decoder.
        tokenizer: with a token for every mark and for the labels it can name.
        tokens: token of each label id; labels whose token it does not know cannot be predicted.
        has_trace: it writes its reasoning before it answers.

    Raises:
        ModelRefusedError: the tokenizer lacks a mark, or every label.
    """
    known = tokenizer.get_vocab()
    missing = [mark for mark in (SHORTLIST, ANSWER, END) if mark not in known]
    named = [(label, known[token]) for label, token in sorted(tokens.items()) if token in known]
    if missing or not named:
        raise ModelRefusedError(
            f"{tokenizer.name_or_path}: no token for {', '.join(missing) or 'any label'}, so it does not write compact traces; "
            "students of a folder's chat model are evaluated by serving them: `transformers serve`, then `ctd trace`"
        )
    return Speaker(
        model,
        tokenizer,
        has_trace,
        pad_id=0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id),
        end_id=known[END],
        answer_id=known[ANSWER],
        open_id=known[SHORTLIST if has_trace else ANSWER],
        label_ids=np.array([label for label, _ in named], dtype=np.int64),
        label_tokens=torch.tensor([token for _, token in named]),
    )


def write_traces(speaker: Speaker, prompts: Sequence[TokenIds], max_tokens: int, batch_size: int) -> list[TokenIds]:
    """What the student writes greedily after each document, the mark that opens it included.

    Args:
        speaker: the student.
        prompts: the documents' parts of compact texts.
        max_tokens: most tokens; what goes on longer has lost its way.
        batch_size: documents at once.
    """
    opened = [[*prompt, speaker.open_id] for prompt in prompts]
    said = continue_greedily(speaker.model, opened, speaker.pad_id, speaker.end_id, max_tokens, batch_size)
    return [[speaker.open_id, *ids] for ids in said]


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
    if speaker.answer_id in written:
        return written[: written.index(speaker.answer_id) + 1]
    return [*(one for one in written if one != speaker.end_id), speaker.answer_id]


@dataclass(frozen=True)
class NextLabels:
    """The most probable labels at the first answer position, best first: label ids and log-probabilities in nats."""

    label_ids: Int[np.ndarray, "document label"]
    nats: Float[np.ndarray, "document label"]


@torch.inference_mode()
def next_labels(speaker: Speaker, contexts: Sequence[TokenIds], count: int, batch_size: int) -> NextLabels:
    """Labels by log p(label token | document, own trace, `<answer>`), over the whole vocabulary.

    Args:
        speaker: the student.
        contexts: prompts with `until_answer`.
        count: labels a document, fewer if fewer have a token.
        batch_size: documents at once.
    """
    kept = min(count, len(speaker.label_ids))
    places, nats = np.zeros((len(contexts), kept), np.int64), np.zeros((len(contexts), kept), np.float64)
    order = sorted(range(len(contexts)), key=lambda place: -len(contexts[place]))
    device = speaker.model.device
    labels = speaker.label_tokens.to(device)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad([contexts[place] for place in chosen], speaker.pad_id, "left").to(device)
        logits = speaker.model(
            input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids, logits_to_keep=1
        ).logits[:, -1]
        best = logits.float().log_softmax(dim=-1)[:, labels].topk(kept)
        places[chosen], nats[chosen] = best.indices.cpu().numpy(), best.values.cpu().numpy()
    return NextLabels(speaker.label_ids[places], nats)


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


def read_written(text: str, tokens: Mapping[int, str]) -> WrittenTrace:
    """What a student's text says; `tokens`: token of each label id."""
    return read_compact(text, {token: label for label, token in tokens.items()})
