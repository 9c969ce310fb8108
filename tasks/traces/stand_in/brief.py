"""What the stand-in is told, and the name it goes by: it changes when its answers would, so old ones are not reused."""

import hashlib
import inspect
from types import ModuleType

import polars as pl

from schemas.config import EmbedConfig, StandInConfig
from schemas.errors import ConfigError
from tasks.labels import lexical
from tasks.traces.endpoints import canonical_hash
from tasks.traces.stand_in import asked, knowledge, thinking, wording
from tasks.traces.stand_in.faults import lasting

_SOURCES: tuple[ModuleType, ...] = (asked, knowledge, thinking, wording, lexical)


def stand_in_name(config: StandInConfig, embed: EmbedConfig, labels: pl.DataFrame, told: tuple[pl.DataFrame, ...]) -> str:
    """The model name with a digest of everything that shapes its answers: code, settings, labels, what it is told."""
    total = hashlib.sha256(canonical_hash(config.model_dump(exclude={"knowledge", "faults"}) | lasting(config.faults)).encode())
    total.update(embed.model_dump_json(exclude={"batch_size"}).encode())
    for module in _SOURCES:
        total.update(inspect.getsource(module).encode())
    for frame in (labels.select("label_id", "label_name", "text_hash"), *told):
        total.update(frame.write_csv().encode())
    return f"stand-in-{total.hexdigest()[:12]}"


def train_targets(documents: pl.DataFrame, relevance: pl.DataFrame) -> pl.DataFrame:
    """What is told of training documents: text_hash, label_id, is_filtered; nothing whose text is a test document's."""
    is_test = pl.col("split") == "test"
    test_texts = documents.filter(is_test).select("text_hash")
    train = documents.filter(~is_test).select("document_id", "text_hash").join(test_texts, on="text_hash", how="anti")
    told = relevance.filter((pl.col("relevance") > 0) | pl.col("is_filtered")).select("document_id", "label_id", "is_filtered")
    pairs = train.join(told, on="document_id").group_by("text_hash", "label_id").agg(pl.col("is_filtered").any())
    return pairs.sort("text_hash", "label_id")


def edge_rows(labels: pl.DataFrame, knowledge_edges: pl.DataFrame, source: str) -> pl.DataFrame:
    """A knowledge file's edges by label number: `a`, `b`, `weight`; edges of labels that are not here fall away.

    Raises:
        ConfigError: none of them names two labels of this dataset.
    """
    ids = labels.select("label_uid", "label_id")
    first = knowledge_edges.join(ids.rename({"label_id": "a"}), on="label_uid")
    both = first.join(ids.rename({"label_uid": "other_uid", "label_id": "b"}), on="other_uid")
    if both.is_empty():
        raise ConfigError(
            f"teacher.stand_in.knowledge = {source!r}: none of its {knowledge_edges.height} edges joins two labels of this "
            "dataset; name its own file, or null for the co-occurrence of labels in its training documents"
        )
    return both.select("a", "b", "weight").cast(knowledge.EDGE_SCHEMA).sort("a", "b")
