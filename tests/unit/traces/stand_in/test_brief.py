import polars as pl
import pytest

from schemas.config import EmbedConfig, FaultRates, StandInConfig
from schemas.errors import ConfigError
from tasks.traces.stand_in.brief import edge_rows, stand_in_name, train_targets

LABELS = pl.DataFrame({"label_id": [0, 1], "label_uid": ["a", "b"], "label_name": ["A", "B"], "text_hash": ["x", "y"]})
TOLD = pl.DataFrame({"text_hash": ["h"], "label_id": [1]})
DOCUMENTS = pl.DataFrame(
    {"document_id": ["d", "e", "t"], "split": ["train", "train", "test"], "text_hash": ["hd", "same", "same"]}
)


def _relevance(*rows: tuple[str, int, float, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["document_id", "label_id", "relevance", "is_filtered"], orient="row")


def _name(
    config: StandInConfig | None = None,
    embed: EmbedConfig | None = None,
    labels: pl.DataFrame = LABELS,
    told: pl.DataFrame = TOLD,
) -> str:
    return stand_in_name(config or StandInConfig(), embed or EmbedConfig(), labels, (told,))


def test_train_targets_tells_nothing_of_test_documents_or_their_texts() -> None:
    told = train_targets(DOCUMENTS, _relevance(("d", 1, 1.0, False), ("e", 2, 1.0, False), ("t", 3, 1.0, False)))
    assert told.rows() == [("hd", 1, False)]


def test_train_targets_marks_left_out_labels_and_drops_irrelevant_ones() -> None:
    told = train_targets(DOCUMENTS, _relevance(("d", 1, 0.0, False), ("d", 2, 0.0, True), ("d", 3, 0.5, False)))
    assert told.rows() == [("hd", 2, True), ("hd", 3, False)]


def test_stand_in_name_changes_with_all_that_shapes_answers() -> None:
    changed = {
        _name(StandInConfig(miss_rate=0.2)),
        _name(StandInConfig(seed=1)),
        _name(StandInConfig(faults=FaultRates(refusal=0.1))),
        _name(embed=EmbedConfig(document_tokens=64)),
        _name(labels=LABELS.with_columns(label_name=pl.lit("C"))),
        _name(told=TOLD.with_columns(label_id=pl.lit(0))),
    }
    assert len(changed) == 6
    assert _name() not in changed
    assert _name().startswith("stand-in-")


def test_stand_in_name_stays_when_only_delays_or_places_change() -> None:
    faults = FaultRates(rate_limited=0.5, server_error=0.1, broken_json=0.1, slow_ms=5.0)
    assert _name() == _name(StandInConfig(faults=faults, knowledge="/elsewhere/knowledge.json.gz"))
    assert _name() == _name(embed=EmbedConfig(batch_size=8))


def test_edge_rows_gives_label_numbers_and_drops_strangers() -> None:
    edges = pl.DataFrame({"label_uid": ["b", "a"], "other_uid": ["a", "stranger"], "weight": [0.5, 0.9]})
    assert edge_rows(LABELS, edges, "file").rows() == [(1, 0, 0.5)]


def test_edge_rows_refuses_the_knowledge_of_another_dataset() -> None:
    edges = pl.DataFrame({"label_uid": ["x"], "other_uid": ["y"], "weight": [0.5]})
    with pytest.raises(ConfigError, match="none of its 1 edges"):
        edge_rows(LABELS, edges, "file")
