"""A stand-in over sixty labels with vectors of hashed words: no model, no disk."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.config import FaultRates, StandInConfig
from tasks.labels.embedder import hash_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import LabelIndex
from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors
from tasks.traces.stand_in.server import Manner, StandInServer
from tasks.traces.stand_in.thinking import Known, StandIn

TOPICS = ("editor", "server", "viewer", "database", "game", "player")
KINDS = ("small", "fast", "network", "graphical", "parallel", "encrypted", "portable", "classic", "modern", "remote")
NAMES = tuple(f"{topic[:3]}{kind[:3]}: {kind} {topic} for daily work" for topic in TOPICS for kind in KINDS)
IDS = np.arange(100, 100 + len(NAMES), dtype=np.int32)

DOCUMENTS = tuple(
    f"{kind} {topic}\nThis {topic} is {kind} and {KINDS[(i + 3) % 10]}." for i, kind in enumerate(KINDS) for topic in TOPICS
)


def word_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors: the sum of a random vector for each word."""
    rows = [sum(_vector(word) for word in text.lower().replace(":", " ").split()) for text in texts]
    out = np.asarray(rows, dtype=np.float32)
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), dtype=np.float32)


@cache
def _vector(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(int(hash_text(word)[:8], 16)).standard_normal(32)


def known_all(target_count: int = 3) -> dict[str, Known]:
    """Targets for every document, neighbours in the label list; the label after them must not be asked for."""
    count = len(NAMES)
    return {
        hash_text(text): Known(
            tuple(int(IDS[(7 * i + j) % count]) for j in range(target_count)), frozenset({int(IDS[(7 * i + 5) % count])})
        )
        for i, text in enumerate(DOCUMENTS)
    }


def tiny_stand_in(known: Mapping[str, Known], **settings: Any) -> StandIn:  # each setting has its own type
    """A stand-in with a ring of relations: every label with the next one (weight .8) and the one after (.4)."""
    count = len(NAMES)
    ends = np.arange(count)
    graph = LabelGraph(
        count,
        np.concatenate([ends, ends]),
        np.concatenate([(ends + 1) % count, (ends + 2) % count]),
        np.repeat([0.8, 0.4], count),
    )
    vectors = word_vectors(NAMES)
    words = WordVectors([*NAMES, *DOCUMENTS], np.concatenate([vectors, word_vectors(DOCUMENTS)]))
    config = StandInConfig.model_validate(settings)
    return StandIn(LabelIndex(IDS, vectors), NAMES, LexicalIndex(IDS, NAMES), graph, words, known, word_vectors, config)


def tiny_server(faults: FaultRates | None = None, known: Mapping[str, Known] | None = None, **manner: Any) -> StandInServer:
    """A server of the tiny stand-in; prose unless `manner` says otherwise."""
    settings: dict[str, Any] = {
        "model": "stand-in",
        "answer_format": "prose",
        "seed": 0,
        "faults": faults or FaultRates(),
        "flip_rate": 0.05,
    }
    return StandInServer(tiny_stand_in(known or {}).think, {}, Manner(**settings | manner))
