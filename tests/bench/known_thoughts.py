"""Thoughts of the stand-in on documents of a dataset in LF layout; its vectors are of hashed words, so nothing is downloaded."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.config import FaultRates, StandInConfig
from tasks.labels.embedder import hash_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import LabelIndex
from tasks.parsing.names import Catalogue
from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors, cooccurrence_edges
from tasks.traces.stand_in.thinking import Known, Question, StandIn, Thought
from tests.support.asked_sample import word_vectors

LEARNT = 2000
"""Training documents the stand-in learns from."""

INVENTED_FRAC = 0.02
"""Share of candidates that are no label."""


@dataclass(frozen=True)
class ThoughtOn:
    """A thought about a document, and half of the documents it is in."""

    document_id: str
    title: str
    thought: Thought
    half: str


@dataclass(frozen=True)
class LabelSet:
    """A dataset's labels and thoughts on its documents."""

    name: str
    catalogue: Catalogue
    thoughts: list[ThoughtOn]


def read_label_set(folder: Path, train_count: int, test_count: int) -> LabelSet:
    """Thoughts on the first training documents, whose labels the stand-in knows, and on test documents, where it guesses."""
    labels, train = _lines(folder / "lbl.json.gz"), _lines(folder / "trn.json.gz", LEARNT)
    stand_in = _stand_in([label["title"] for label in labels], train)
    documents = [*train[:train_count], *_lines(folder / "tst.json.gz", test_count)]
    thoughts = stand_in.think([Question(_text(document), None) for document in documents])
    said = [
        ThoughtOn(document["uid"], document["title"], thought, _half(document["uid"]))
        for document, thought in zip(documents, thoughts, strict=True)
    ]
    catalogue = Catalogue(range(len(labels)), [label["uid"] for label in labels], [label["title"] for label in labels])
    return LabelSet(folder.name, catalogue, said)


def _stand_in(names: list[str], train: list[dict[str, Any]]) -> StandIn:  # JSON lines: each key has its own type
    ids = np.arange(len(names), dtype=np.int32)
    index, texts = LabelIndex(ids, word_vectors(names)), [_text(document) for document in train]
    known = {hash_text(_text(document)): Known(tuple(document["target_ind"]), frozenset()) for document in train}
    pairs = [(text_hash, label) for text_hash, told in known.items() for label in told.targets]
    edges = cooccurrence_edges(pl.DataFrame(pairs, schema={"text_hash": pl.String, "label_id": pl.Int64}, orient="row"))
    graph = LabelGraph(len(names), edges["a"].to_numpy(), edges["b"].to_numpy(), edges["weight"].to_numpy())
    words = WordVectors([*names, *texts], word_vectors([*names, *texts]))
    config = StandInConfig(faults=FaultRates(unknown_label=INVENTED_FRAC))
    return StandIn(index, names, LexicalIndex(ids, names), graph, words, known, lambda asked: word_vectors(list(asked)), config)


def _lines(path: Path, count: int | None = None) -> list[dict[str, Any]]:  # as above
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file][:count]


def _text(document: dict[str, Any]) -> str:  # as above
    return f"{document['title']}\n{document['content']}"


def _half(document_id: str) -> str:
    return "test" if int(hash_text(document_id)[:4], 16) % 2 else "development"
