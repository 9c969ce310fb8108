import logging

import polars as pl
import pytest

from schemas.config import EvaluateConfig
from schemas.errors import ConfigError, EmptyTargetError
from schemas.tables import OUT_CONTRASTS, OUT_METRICS
from tasks.evaluation.leaderboard import describe_targets, score_systems, split_targets
from tasks.evaluation.metrics import find_hits

LABELS = pl.DataFrame({"label_id": [0, 1, 2, 3]}, schema={"label_id": pl.Int32})
CONFIG = EvaluateConfig(ks=(1, 2), head_min_count=3, tail_max_count=1, bootstrap_count=50)


def relevance() -> pl.DataFrame:
    """Label 0 in three train documents (head), 1 in two (torso), 2 in one (tail), 3 in none (unseen)."""
    rows = [
        ("t1", 0, "train", 1.0, False),
        ("t2", 0, "train", 1.0, False),
        ("t3", 0, "train", 1.0, False),
        ("t1", 1, "train", 1.0, False),
        ("t2", 1, "train", 1.0, False),
        ("t3", 2, "train", 1.0, False),
        ("t3", 3, "train", 1.0, True),
        ("a", 0, "test", 1.0, False),
        ("a", 3, "test", 1.0, False),
        ("b", 1, "test", 1.0, False),
        ("b", 2, "test", 1.0, True),
        ("c", 2, "test", 0.0, False),
    ]
    schema = {
        "document_id": pl.String, "label_id": pl.Int32, "split": pl.String, "relevance": pl.Float32, "is_filtered": pl.Boolean,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def predictions() -> pl.DataFrame:
    rows = [("lexical", 0, "a", 0, 1), ("answers", 0, "a", 3, 1), ("answers", 0, "b", 1, 2), ("answers", 1, "b", 1, 1)]
    return pl.DataFrame(rows, schema=["system", "seed", "document_id", "label_id", "rank"], orient="row").cast(
        {"label_id": pl.Int32, "seed": pl.Int32, "rank": pl.Int32}
    )


SEEDS = {"lexical": (0,), "answers": (0, 1)}


def scored() -> tuple[pl.DataFrame, pl.DataFrame]:
    targets = describe_targets(LABELS, relevance(), 3, CONFIG)
    return score_systems(find_hits(predictions(), targets), targets, SEEDS, CONFIG)


def test_split_targets_leaves_out_filtered_pairs_and_relevance_0() -> None:
    assert split_targets(relevance(), "test").rows() == [("a", 0), ("a", 3), ("b", 1)]


def test_describe_targets_takes_segments_from_train_alone() -> None:
    targets = describe_targets(LABELS, relevance(), 3, CONFIG)
    assert sorted(targets.select("label_id", "segment").rows()) == [(0, "head"), (1, "torso"), (3, "unseen")]
    weights = dict(targets.select("label_id", "inverse_propensity").rows())
    assert weights[3] > weights[1] > weights[0]


def test_describe_targets_refuses_a_test_split_without_targets() -> None:
    with pytest.raises(EmptyTargetError, match="no test document has a target"):
        describe_targets(LABELS, relevance().filter(pl.col("split") == "train"), 3, CONFIG)


def test_score_systems_by_hand() -> None:
    metrics, _ = scored()
    value = {(r["system"], r["metric"], r["k"], r["segment"]): r["value"] for r in metrics.iter_rows(named=True)}
    assert value["lexical", "P", 1, "all"] == pytest.approx(1 / 2)
    assert value["answers", "P", 1, "all"] == pytest.approx(1 / 2)
    assert value["answers", "R", 2, "all"] == pytest.approx(((1 / 2 + 1) / 2 + 1 / 2) / 2)
    assert value["answers", "P", 1, "unseen"] == pytest.approx(1 / 2)
    assert value["answers", "P", 1, "torso"] == pytest.approx(1 / 2)
    assert value["lexical", "P", 1, "head"] == 1
    assert value["lexical", "P", 1, "torso"] == 0


def test_score_systems_counts_documents_of_the_segment_and_skips_empty_ones(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        metrics, _ = scored()
    counts = dict(metrics.select("segment", "document_count").unique().rows())
    assert counts == {"all": 2, "head": 1, "torso": 1, "unseen": 1}
    assert "segment head: 1 targets of 1 documents; 1 documents have none" in caplog.text
    assert "segment tail: no target of 2 documents is in it" in caplog.text


def test_score_systems_contrasts_against_the_baseline() -> None:
    _, contrasts = scored()
    found = contrasts.filter((pl.col("metric") == "P") & (pl.col("k") == 1) & (pl.col("segment") == "head")).row(0, named=True)
    assert (found["system"], found["baseline"], found["difference"], found["seed_count"]) == ("lexical", "answers", 1, 2)


def test_score_systems_fill_their_tables() -> None:
    own = {"run_id": pl.lit("r"), "dataset": pl.lit("d"), "split": pl.lit("test")}
    metrics, contrasts = (frame.with_columns(**own) for frame in scored())
    assert len(OUT_METRICS.conform(metrics)) == 2 * 7 * 2 * 4
    assert OUT_METRICS.conform(metrics).select(OUT_METRICS.key).is_unique().all()
    assert OUT_CONTRASTS.conform(contrasts).select(OUT_CONTRASTS.key).is_unique().all()


def test_score_systems_repeat_with_the_same_seed() -> None:
    assert all(one.equals(other) for one, other in zip(scored(), scored(), strict=True))


def test_score_systems_without_contrasts_give_an_empty_table() -> None:
    targets = describe_targets(LABELS, relevance(), 3, CONFIG)
    _, contrasts = score_systems(find_hits(predictions(), targets), targets, {"lexical": (0,)}, CONFIG)
    assert contrasts.is_empty()
    assert OUT_CONTRASTS.conform(contrasts.with_columns(run_id=pl.lit("r"), dataset=pl.lit("d"))).is_empty()


def test_score_systems_refuse_a_cutoff_beyond_the_lists() -> None:
    targets = describe_targets(LABELS, relevance(), 3, CONFIG)
    short = CONFIG.model_copy(update={"prediction_count": 1})
    with pytest.raises(ConfigError, match=r"evaluate\.ks has 2, but only evaluate\.prediction_count = 1"):
        score_systems(find_hits(predictions(), targets), targets, SEEDS, short)
