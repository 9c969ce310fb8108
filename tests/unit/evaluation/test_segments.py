import polars as pl
import pytest

from schemas.errors import ConfigError
from tasks.evaluation.segments import count_train_documents, label_segments, segment_targets

LABELS = pl.DataFrame({"label_id": [0, 1, 2]}, schema={"label_id": pl.Int32})
TRAIN = pl.DataFrame({"document_id": ["a", "b", "b"], "label_id": [2, 2, 0]}, schema_overrides={"label_id": pl.Int32})


def test_count_train_documents_has_every_label() -> None:
    assert count_train_documents(LABELS, TRAIN).rows() == [(0, 1), (1, 0), (2, 2)]


def test_label_segments_at_their_borders() -> None:
    counts = pl.DataFrame({"label_id": range(6), "train_document_count": [0, 1, 3, 4, 19, 20]})
    found = label_segments(counts, head_min_count=20, tail_max_count=3)
    assert found["segment"].to_list() == ["unseen", "tail", "tail", "torso", "torso", "head"]


def test_label_segments_refuse_overlap() -> None:
    with pytest.raises(ConfigError, match="head_min_count = 3 with"):
        label_segments(count_train_documents(LABELS, TRAIN), head_min_count=3, tail_max_count=3)


def test_segment_targets_drop_documents_without_a_target_in_the_segment() -> None:
    targets = pl.DataFrame({"document_id": ["a", "a", "b"], "label_id": [0, 1, 1], "segment": ["tail", "head", "head"]})
    assert segment_targets(targets, "tail")["document_id"].to_list() == ["a"]
    assert segment_targets(targets, "all").equals(targets)
