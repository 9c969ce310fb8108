"""Traces of train documents to what a decoder is trained on: who is trained on, the vocabulary, the lessons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from schemas.config import DecoderConfig
from schemas.errors import TrainingError
from tasks.labels.vectors import Vectors
from tasks.open_models.factorised import place_vectors
from tasks.open_models.lessons import Lesson, make_lesson
from tasks.open_models.vocabulary import FIRST, UNKNOWN, Vocabulary, choose_vocabulary, make_tokenizer
from tasks.sequences.annotated import AnnotatedText
from tasks.sequences.compact import CompactForm, annotate_compact
from tasks.sequences.traces import Nearest, TraceTables, read_traces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MIN_DOCUMENTS = 20
"""Fewer usable traces than this are not trained on."""


@dataclass(frozen=True)
class Material:
    """Compact texts to train on and to measure on, and the tokens they are written in."""

    train: tuple[AnnotatedText, ...]
    dev: tuple[AnnotatedText, ...]
    vocabulary: Vocabulary
    tokenizer: "PreTrainedTokenizerFast"

    def lessons(self, texts: Sequence[AnnotatedText]) -> list[Lesson]:
        """Lessons of some texts."""
        encode = self.tokenizer
        known = encode.get_vocab()
        ids = encode([text.text for text in texts], add_special_tokens=False)["input_ids"] if texts else []
        return [make_lesson(one, known, known[UNKNOWN]) for one in ids]


def usable_texts(
    tables: TraceTables, documents: Mapping[str, str], form: CompactForm, nearest: Nearest
) -> Iterator[AnnotatedText]:
    """Compact texts of the whole traces of these documents that name a candidate and an answer.

    Args:
        tables: rows of any traces.
        documents: text of each train document by id; traces of others are not used.
        form: how they are written.
        nearest: picks near misses.
    """
    for trace in read_traces(tables):
        if trace.document_id in documents and trace.candidate_ids and trace.answer_ids:
            yield annotate_compact(trace, documents[trace.document_id], form, nearest)


def prepare(texts: Sequence[AnnotatedText], tokens: Mapping[int, str], settings: DecoderConfig) -> Material:
    """Texts split into those that are trained on and those that are not, with the vocabulary of the former.

    Args:
        texts: compact texts, one a document.
        tokens: token of each label id.
        settings: split, seed and sizes of the vocabulary.

    Raises:
        TrainingError: there are fewer than 20 texts, or none names a label.
    """
    if len(texts) < MIN_DOCUMENTS:
        raise TrainingError(
            f"decoder: {len(texts)} train documents have a whole trace with a candidate and an answer that link, "
            f"{MIN_DOCUMENTS} are needed; trace more documents, or look at core_rejects"
        )
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    dev_count = min(max(round(settings.dev_frac * len(texts)), 1), len(texts) - 1)
    dev, train = (tuple(texts[place] for place in part) for part in (order[:dev_count], order[dev_count:]))
    vocabulary = choose_vocabulary(train, tokens, settings.max_labels, settings.max_words)
    return Material(train, dev, vocabulary, make_tokenizer(vocabulary, settings.document_words))


def token_vectors(labels: Vectors, words: Vectors) -> Float[Tensor, "token d_embedder"]:
    """One vector a token of the vocabulary, in its order: zero for marks, centred apart for labels and for words.

    Args:
        labels: embedder vectors of the labels with a token.
        words: embedder vectors of the words with a token.
    """
    first = len(FIRST)
    ids = range(first, first + len(labels)), range(first + len(labels), first + len(labels) + len(words))
    return place_vectors(first + len(labels) + len(words), [(ids[0], labels), (ids[1], words)])
