import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.config import ParseConfig
from schemas.errors import InputFormatError
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.tables import TABLES
from tasks.parsing.task import parse_traces
from tests.integration.traced_run import ANSWERS, EMBED, JSON, PROSE, store_vectors, traced_run, unit
from warehouse.parquet import read_table

LENIENT = ParseConfig(max_reject_frac=0.5)
STEPS = [{"label": "editor", "verdict": "drop", "compared_to": None, "reason": "it says </think> and {"}]
VARIED: tuple[dict[str, Any], ...] = (
    {"document_id": "t0", "split": "test", "completion_text": "- editor", "reasoning_text": PROSE},
    {"document_id": "t0", "split": "test", "sample_index": 1, "completion_text": JSON},
    {"document_id": "t0", "split": "test", "variant": "phase-1", "completion_text": "Shortlist:\neditor\ngame\n"},
    {"document_id": "t0", "split": "test", "variant": "phase-1", "completion_text": "", "finish_reason": "length"},
    {
        "document_id": "t0", "split": "test", "variant": "phase-2-index",
        "completion_text": json.dumps({"steps": STEPS, "answer": []}),
    },
    {
        "document_id": "t0", "split": "test", "variant": "phase-2-teacher", "finish_reason": "connection_cut",
        "completion_text": "<reasoning>\n<step>editor: keep</step>\n<step>ga",
    },
    {
        "document_id": "t0", "split": "test", "variant": "phase-2-stranger", "prompt_kind": "candidates",
        "completion_text": json.dumps({"steps": [{"id": 0, "verdict": "keep"}], "answer": [{"id": 0, "confidence": 0.5}]}),
    },
)  # fmt: skip


def parsed(result: StageResult) -> dict[str, pl.DataFrame]:
    return {ref.table: read_table(ref) for ref in result.tables}


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[RunRef, StageInputs]:
    """A run with four answers; two mentions no name rung links lie in the cache, one of them near a label."""
    run, inputs = traced_run(tmp_path)
    near = 0.9 * unit(2) + (1 - 0.9**2) ** 0.5 * unit(9)
    store_vectors(run, {"software for pictures": near, "pocket knife": unit(8)}, EMBED.label_tokens)
    return run, inputs


def test_parse_traces_writes_every_answer_once(prepared: tuple[RunRef, StageInputs], caplog: pytest.LogCaptureFixture) -> None:
    run, inputs = prepared
    with caplog.at_level(logging.INFO, "tasks.parsing"):
        result = parse_traces.fn(run, inputs, LENIENT, EMBED)
    tables = parsed(result)
    assert sorted(tables["core_traces"]["document_id"]) == ["d0", "t0", "t4"]
    assert dict(tables["core_traces"].select("document_id", "answer_format").iter_rows()) == {
        "t0": "prose",
        "t4": "json",
        "d0": "tagged",
    }
    assert tables["core_rejects"].select("source_key", "reject_reason").rows() == [(f"{3:064x}:d1", "teacher_error")]
    assert (result.cost.rows_in_count, result.cost.rejected_count) == (4, 1)
    assert "4 raw traces in, 3 traces out, 1 rejected" in caplog.text


def test_parse_traces_reads_each_variant_and_sample(tmp_path: Path) -> None:
    run, inputs = traced_run(tmp_path, VARIED)
    store_vectors(run, {"pocket knife": unit(8)}, EMBED.label_tokens)
    tables = parsed(parse_traces.fn(run, inputs, LENIENT, EMBED))
    counted = tables["core_traces"].select("variant", "sample_index", "shortlist_count", "answer_count", "is_truncated")
    assert sorted(counted.rows()) == [
        ("both", 0, 3, 1, False),
        ("both", 1, 2, 1, False),
        ("phase-1", 0, 2, 0, False),
        ("phase-2-index", 0, 0, 0, False),
        ("phase-2-stranger", 0, 0, 1, False),
        ("phase-2-teacher", 0, 0, 0, True),
    ]
    assert tables["core_rejects"]["reject_reason"].to_list() == ["empty_completion"]
    judged = tables["core_steps"].join(tables["core_traces"].filter(pl.col("variant").str.starts_with("phase-2")), on="trace_id")
    assert set(judged["phase"]) == {"refine", "answer"}


def test_parse_traces_links_through_all_rungs(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    shortlist = parsed(parse_traces.fn(run, inputs, LENIENT, EMBED))["core_shortlist"]
    rows = {text: (label, method) for text, label, method in shortlist.select("mention_text", "label_id", "link_method").rows()}
    assert rows["editor"] == (0, "exact")
    assert rows["imagee viewer"] == (2, "fuzzy")
    assert rows["software for pictures"] == (2, "vector")
    assert rows["pocket knife"] == (None, "none")


def test_parse_traces_chooses_the_fuzzy_threshold_for_a_precision(
    prepared: tuple[RunRef, StageInputs], caplog: pytest.LogCaptureFixture
) -> None:
    run, inputs = prepared
    with caplog.at_level(logging.INFO, "tasks.parsing"):
        parse_traces.fn(run, inputs, LENIENT.model_copy(update={"target_precision": 0.9}), EMBED)
    assert "for parse.target_precision = 0.900, which it reaches" in caplog.text


def test_parse_traces_quotes_the_raw_answers(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    tables = parsed(parse_traces.fn(run, inputs, LENIENT, EMBED))
    raw = {answer["document_id"]: answer for answer in ANSWERS}
    for name in ("core_steps", "core_shortlist", "core_answers"):
        for row in tables[name].iter_rows(named=True):
            quoted = raw[row["document_id"]][row["span_source"]][row["char_start"] : row["char_end"]]
            assert quoted == row["step_text" if name == "core_steps" else "mention_text"]


def test_parse_traces_keeps_declared_keys_unique(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    for name, frame in parsed(parse_traces.fn(run, inputs, LENIENT, EMBED)).items():
        assert frame.select(TABLES[name].key).is_unique().all()


def test_parse_traces_is_the_same_twice(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    first, second = (parse_traces.fn(run, inputs, LENIENT, EMBED) for _ in range(2))
    assert [ref.content_hash for ref in first.tables] == [ref.content_hash for ref in second.tables]


def test_parse_traces_publishes_nothing_above_the_reject_limit(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    with pytest.raises(InputFormatError, match=r"1 of 4 rejected \(0\.250 > parse\.max_reject_frac 0\.1\): teacher_error 1"):
        parse_traces.fn(run, inputs, ParseConfig(max_reject_frac=0.1), EMBED)
    assert not list(run.root_path.rglob("core_traces.parquet"))
