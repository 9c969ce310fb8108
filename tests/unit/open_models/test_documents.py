import polars as pl

from schemas.tables import CORE_TRACES
from tasks.open_models.documents import draw_documents


def traces(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["document_id", "split", "variant", "sample_index"], orient="row")
    return frame.cast({"sample_index": CORE_TRACES.schema["sample_index"]})


MANY = traces(
    *((f"d{i:02}", "train", "both", 0) for i in range(30)),
    *((f"t{i}", "test", "both", 0) for i in range(5)),
    ("half", "train", "phase-1", 0),
    ("second", "train", "both", 1),
)


def test_draw_documents_takes_whole_traces_of_the_split_alone() -> None:
    assert sorted(draw_documents(MANY, "train", 100, 0)) == [f"d{i:02}" for i in range(30)]
    assert sorted(draw_documents(MANY, "test", 100, 0)) == [f"t{i}" for i in range(5)]


def test_draw_documents_draws_the_same_by_seed_whatever_the_order_of_the_table() -> None:
    drawn = draw_documents(MANY, "train", 7, 1)
    assert len(set(drawn)) == 7
    assert draw_documents(MANY.reverse(), "train", 7, 1) == drawn
    assert draw_documents(MANY, "train", 7, 2) != drawn
    assert draw_documents(MANY, "train", 4, 1) == drawn[:4]


def test_draw_documents_takes_only_those_allowed() -> None:
    assert set(draw_documents(MANY, "train", 9, 0, ["d01", "d02", "t1", "stranger"])) == {"d01", "d02"}
    assert draw_documents(MANY, "train", 9, 0, []) == []
