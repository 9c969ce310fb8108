from pathlib import Path

import polars as pl
import pytest

from schemas.config import CharacterizeConfig, ParseConfig
from schemas.errors import EmptyTargetError
from schemas.refs import RunRef, StageInputs
from schemas.tables import CORE_TRAJECTORIES
from tasks.parsing.task import parse_traces
from tasks.phases.task import characterize_text
from tasks.phases.trajectories import readable_step
from tests.integration.traced_run import ANSWERS, EMBED, store_vectors, traced_run, unit
from warehouse.parquet import read_table

SETTINGS = CharacterizeConfig(positions=4, near_miss_count=2)


def parsed_run(folder: Path, count: int) -> tuple[RunRef, StageInputs]:
    """A run whose first answers are parsed and whose steps have vectors: all of them that of their document t0."""
    run, inputs = traced_run(folder, ANSWERS[:count] if count > 0 else ANSWERS[2:3])
    store_vectors(run, {"software for pictures": unit(2), "pocket knife": unit(8)}, EMBED.label_tokens)
    tables = parse_traces.fn(run, inputs, ParseConfig(), EMBED).tables
    inputs = StageInputs(tables={**inputs.tables, **{ref.table: ref for ref in tables}}, artifacts=inputs.artifacts)
    documents = read_table(inputs.tables["core_documents"])["document_id"].to_list()
    steps = read_table(inputs.tables["core_steps"])["step_text"].unique().to_list()
    known = set(read_table(inputs.tables["core_labels"])["label_name"])
    store_vectors(
        run, {text: unit(documents.index("t0")) for text in map(readable_step, steps) if text not in known}, EMBED.label_tokens
    )
    return run, inputs


def test_characterize_text_measures_test_documents_only(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    result = characterize_text.fn(run, inputs, SETTINGS, EMBED)
    frame = read_table(result.tables[0])
    assert set(frame["document_id"]) == {"t0", "t4"}
    assert set(frame["quantity"]) == {"focus", "confusion", "confusion_floor", "shortlist_recall", "inflation"}
    assert set(frame["position"]) <= {0.125, 0.375, 0.625, 0.875}
    assert frame.select(CORE_TRAJECTORIES.key).is_unique().all()
    assert frame["system"].unique().to_list() == ["teacher"]


def test_characterize_text_finds_focus_1_where_steps_equal_their_document(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 1)
    frame = read_table(characterize_text.fn(run, inputs, SETTINGS, EMBED).tables[0])
    refined = frame.filter((pl.col("quantity") == "focus") & (pl.col("position") == 0.625))
    assert refined["value"].to_list() == pytest.approx([1.0])
    recall = frame.filter(pl.col("quantity") == "shortlist_recall").sort("position")
    assert recall["value"].to_list() == [1.0] * 4


def test_characterize_text_draws_the_same_documents_again(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    one = CharacterizeConfig(positions=4, max_documents=1, seed=3)
    first, second = (characterize_text.fn(run, inputs, one, EMBED).tables[0] for _ in range(2))
    assert first.content_hash == second.content_hash
    assert read_table(first)["document_id"].n_unique() == 1


def test_characterize_text_without_a_test_trace_is_undefined(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 0)
    with pytest.raises(EmptyTargetError, match="no test document has a usable trace"):
        characterize_text.fn(run, inputs, SETTINGS, EMBED)
