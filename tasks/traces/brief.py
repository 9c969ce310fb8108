"""The name the stand-in goes by: it changes when its answers would, so that old answers are not taken for new ones."""

import hashlib
import inspect
from types import ModuleType

import polars as pl

from schemas.config import StandInConfig
from tasks.labels import lexical
from tasks.traces import knowledge, stand_in, wording

PASSING_FAULTS = frozenset({"rate_limited", "server_error", "broken_json", "slow_ms"})
"""Faults that delay an answer and do not change it."""

_SOURCES: tuple[ModuleType, ...] = (knowledge, stand_in, wording, lexical)


def stand_in_name(model: str, config: StandInConfig, targets: pl.DataFrame, edges: pl.DataFrame) -> str:
    """The model name with a digest of everything that shapes its answers: code, settings, what it knows."""
    settings = config.model_dump_json(exclude={"knowledge": True, "faults": set(PASSING_FAULTS)})
    total = hashlib.sha256(settings.encode())
    for module in _SOURCES:
        total.update(inspect.getsource(module).encode())
    for frame in (targets, edges):
        total.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return f"{model}-{total.hexdigest()[:12]}"


def edge_rows(labels: pl.DataFrame, knowledge_edges: pl.DataFrame) -> pl.DataFrame:
    """A knowledge file's edges by label number: `a`, `b`, `weight`; edges of other label sets fall away."""
    ids = labels.select("label_uid", "label_id")
    first = knowledge_edges.join(ids.rename({"label_id": "a"}), on="label_uid")
    both = first.join(ids.rename({"label_uid": "other_uid", "label_id": "b"}), on="other_uid")
    return both.select("a", "b", "weight").cast(knowledge.EDGE_SCHEMA).sort("a", "b")
