from pathlib import Path

import polars as pl
import pytest

from schemas.config import CharacterizeConfig, ParseConfig
from schemas.errors import EmptyTargetError
from schemas.fields import TEXT_QUANTITIES
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.stages import STAGES
from schemas.tables import CORE_RELEVANCE, CORE_TRAJECTORIES
from tasks.parsing.task import parse_traces
from tasks.phases.task import characterize_text
from tasks.phases.trajectories import readable_step
from tests.integration.traced_run import ANSWERS, EMBED, store_vectors, traced_run, unit
from warehouse.parquet import read_table, write_table

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


def tables_of(result: StageResult) -> dict[str, pl.DataFrame]:
    return {ref.table: read_table(ref) for ref in result.tables}


def standings(tables: dict[str, pl.DataFrame]) -> dict[str, str]:
    return dict(tables["out_verdicts"].select("claim", "standing").iter_rows())


def test_characterize_text_measures_test_documents_only(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    result = characterize_text.fn(run, inputs, SETTINGS, EMBED)
    frame = read_table(result.tables[0])
    assert set(frame["document_id"]) == {"t0", "t4"}
    assert set(frame["quantity"]) == set(TEXT_QUANTITIES)
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


def test_characterize_text_writes_the_tables_of_its_stage(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    tables = tables_of(characterize_text.fn(run, inputs, SETTINGS, EMBED))
    assert tuple(tables) == STAGES["characterize"].writes
    assert set(tables["out_metrics"]["system"]) == {"teacher/both"}
    assert tables["out_contrasts"].is_empty()
    assert set(tables["out_verdicts"]["system"]) == {"teacher"}


def test_characterize_text_stores_the_near_misses_of_its_documents(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    near = tables_of(characterize_text.fn(run, inputs, SETTINGS, EMBED))["core_near_misses"]
    # labels stand along axes of their own, so all are as far; ties go by number, and the target is none
    assert near.select("document_id", "rank", "label_id").rows() == [("t0", 1, 1), ("t0", 2, 2), ("t4", 1, 0), ("t4", 2, 1)]
    assert near["score"].to_list() == pytest.approx([0.0] * 4, abs=1e-6)


def test_characterize_text_of_one_document_decides_nothing(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 1)
    tables = tables_of(characterize_text.fn(run, inputs, SETTINGS, EMBED))
    assert standings(tables) == {
        "focus_early": "undecided", "confusion_late": "undecided", "refinement_helps": "undecided",
        "isolated": "not_measured", "complementary": "not_measured",
    }  # fmt: skip
    texts = dict(tables["out_verdicts"].select("claim", "sentence_text").iter_rows())
    assert "Fewer than 10 documents" in texts["focus_early"]
    assert "teacher.variants" in texts["isolated"]


def test_characterize_text_without_targets_has_no_metric(tmp_path: Path) -> None:
    run, inputs = parsed_run(tmp_path, 3)
    train = read_table(inputs.tables["core_relevance"]).filter(pl.col("split") == "train")
    relevance = write_table(run, "ingest-again", CORE_RELEVANCE, train)
    inputs = inputs.model_copy(update={"tables": inputs.tables | {"core_relevance": relevance}})
    tables = tables_of(characterize_text.fn(run, inputs, SETTINGS, EMBED))
    assert set(tables["core_trajectories"]["quantity"]) == {"focus", "inflation"}
    assert "out_metrics" not in tables
    assert tables["core_near_misses"].is_empty() and tables["out_contrasts"].is_empty()
    assert standings(tables) == {"focus_early": "undecided"} | dict.fromkeys(
        ("confusion_late", "refinement_helps", "isolated", "complementary"), "not_measured"
    )
