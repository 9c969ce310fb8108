import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import InputFormatError
from schemas.fields import VARIANTS
from schemas.tables import RAW_TRACES, TABLES
from tasks.labels.search import LabelIndex, Vectors
from tasks.parsing.linking import MentionLinker, NearestLabels, Thresholds
from tasks.parsing.rows import trace_id_of
from tasks.parsing.tables import ParsedTables, RejectCount, parse_rows, refuse_many_rejects
from tests.unit.parsing.catalogue import ID, LABELS, NAME, small_catalogue

INDEX = LabelIndex(np.arange(len(LABELS), dtype=np.int32), np.eye(len(LABELS), dtype=np.float32))
NOWHERE = NearestLabels(lambda texts: np.zeros((len(texts), len(LABELS)), np.float32), INDEX)
LINKER = MentionLinker(small_catalogue(), NOWHERE, Thresholds(0.8, 0.8, 0.15))

ANSWER = json.dumps(
    {
        "shortlist": [{"label": "vim"}, {"label": "nano"}, {"label": "unheard of"}, {"label": "VIM"}],
        "steps": [
            {"label": "nano", "verdict": "drop", "compared_to": "vim", "reason": "no modes"},
            {"label": "vim", "verdict": "keep", "compared_to": "nano", "reason": "modes"},
        ],
        "answer": [{"label": NAME["vim"], "confidence": 0.9}],
    }
)


def raw_rows(*rows: dict[str, Any]) -> pl.DataFrame:
    """`raw_traces` with these columns set and the others as in a plain answer."""
    plain = {
        "dataset": "tiny", "split": "train", "teacher": "t", "endpoint": "e", "prompt_kind": "open", "variant": "both",
        "asked_form": "json", "messages_hash": "m",
        "sample_index": 0, "finish_reason": "stop", "attempt_count": 1,
    }  # fmt: skip
    filled = [
        dict.fromkeys(RAW_TRACES.columns) | plain | {"request_hash": f"r{i}", "document_id": f"d{i}"} | row
        for i, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=RAW_TRACES.schema)


def parse(*rows: dict[str, Any]) -> ParsedTables:
    return parse_rows(raw_rows(*rows), LINKER)


def test_parse_rows_of_nothing_are_empty_tables() -> None:
    tables = parse()
    assert {name: frame.schema for name, frame in tables.frames.items()} == {n: TABLES[n].schema for n in tables.frames}
    assert sum(map(len, tables.frames.values())) == 0


def test_parse_rows_keeps_the_first_mention_of_a_label() -> None:
    shortlist = parse({"completion_text": ANSWER})["core_shortlist"]
    assert shortlist["mention_text"].to_list() == ["vim", "nano", "unheard of"]
    assert shortlist["rank"].to_list() == [1, 2, 3]
    assert shortlist["label_id"].to_list() == [ID["vim"], ID["nano"], None]
    assert shortlist["link_method"].to_list() == ["exact", "exact", "none"]
    assert shortlist["step"].to_list() == [0, 1, 2]


def test_parse_rows_counts_out_of_catalogue_over_shortlist_and_answer() -> None:
    trace = parse({"completion_text": ANSWER})["core_traces"].row(0, named=True)
    assert trace["out_of_catalogue_frac"] == pytest.approx(1 / 4)
    assert (trace["shortlist_count"], trace["answer_count"], trace["step_count"]) == (3, 1, 7)
    assert trace["trace_id"] == trace_id_of("r0", "d0")


def test_parse_rows_argue_for_the_kept_label_whatever_the_verdict() -> None:
    steps = parse({"completion_text": ANSWER})["core_steps"].filter(pl.col("phase") == "refine")
    assert steps["verdict"].to_list() == ["drop", "keep"]
    assert steps["target_label_id"].to_list() == [ID["vim"], ID["vim"]]
    assert steps["near_miss_label_id"].to_list() == [ID["nano"], ID["nano"]]


def test_parse_rows_positions_run_from_0_to_1() -> None:
    steps = parse({"completion_text": ANSWER})["core_steps"]
    assert steps["step"].to_list() == list(range(7))
    assert steps["position"].to_list() == pytest.approx([i / 6 for i in range(7)])
    alone = parse({"completion_text": '{"shortlist": ["vim"', "finish_reason": "length"})
    assert alone["core_steps"]["position"].to_list() == [0.0]
    assert alone["core_traces"]["is_truncated"].to_list() == [True]


def test_parse_rows_links_a_reading_that_only_the_costly_rungs_know() -> None:
    answer = json.dumps({"shortlist": ["audacityy: fast, cross-platform audio editor"], "answer": ["vim"]})
    row = parse({"completion_text": answer})["core_shortlist"].row(0, named=True)
    assert (row["label_id"], row["link_method"]) == (ID["audacity"], "fuzzy")
    assert 0.9 <= row["link_score"] < 1


def test_parse_rows_sends_no_more_than_a_thousand_texts_of_a_trace_up_the_costly_rungs() -> None:
    names = [f"gizmo {i} of {i % 7} kinds" for i in range(1500)]
    tried: list[str] = []

    def embed(texts: Sequence[str]) -> Vectors:
        tried.extend(texts)
        return np.zeros((len(texts), len(LABELS)), np.float32)

    linker = MentionLinker(small_catalogue(), NearestLabels(embed, INDEX), Thresholds(0.8, 0.8, 0.15))
    answer = json.dumps({"shortlist": [*names, "x" * 5000], "answer": ["vim"]})
    tables = parse_rows(raw_rows({"completion_text": answer}), linker)
    assert tried == names[:1000]
    assert tables["core_shortlist"]["label_id"].null_count() == 1501


def test_parse_rows_give_a_trace_the_same_rows_whatever_is_parsed_beside_it() -> None:
    late = "audacityy: fast, cross-platform audio editor"
    runaway = json.dumps({"shortlist": [*(f"gizmo {i} of {i % 7} kinds" for i in range(1000)), late], "answer": ["vim"]})
    beside = json.dumps({"shortlist": [late], "answer": ["vim"]})
    alone, together = parse({"completion_text": runaway}), parse({"completion_text": runaway}, {"completion_text": beside})
    assert alone["core_shortlist"]["link_method"].unique().to_list() == ["none"]
    for name, frame in alone.frames.items():
        assert together[name][: len(frame)].equals(frame)
    assert together["core_shortlist"]["link_method"][-1] == "fuzzy"


def test_parse_rows_keeps_failed_requests_as_rejects() -> None:
    rejects = parse({"error_kind": "TransientTeacherError", "error_text": "429"}, {"completion_text": ""})["core_rejects"]
    assert rejects["reject_reason"].to_list() == ["teacher_error", "empty_completion"]
    assert rejects["source_key"].to_list() == ["r0:d0", "r1:d1"]
    assert rejects["stage"].unique().to_list() == ["parse"]


def test_refuse_many_rejects_names_counts_and_limit() -> None:
    rejects = parse(*[{"completion_text": ""}] * 2, {"completion_text": "hm?"})["core_rejects"]
    count = RejectCount()
    count.add(4, rejects[:1])
    count.add(6, rejects[1:])
    with pytest.raises(
        InputFormatError, match=r"3 of 10 rejected \(0\.300 > .*0\.2\): empty_completion 2, unreadable_answer 1; e\.g\. 'no text"
    ):
        refuse_many_rejects(count, 0.2)
    count.add(5, rejects.clear())
    refuse_many_rejects(count, 0.2)
    refuse_many_rejects(RejectCount(), 0.0)


CHARS = st.characters(exclude_categories=["Cs"])
SCRAPS = st.sampled_from(
    [
        "vim", NAME["audacity"], "Mercury", "[3]", "\n", "- ", "1. ", "**", '"', "'", "“nano”", ": ", ", ", ". ", "keep",
        "drop it", "rather than ", "Candidates: ", "Final answer:\n", "<think>", "</think>", "<shortlist>", "</shortlist>",
        "<reasoning>", "<step>", "</step>", "<answer>", "```json\n", '{"shortlist": [', '{"label": "', '"steps": ',
        '"answer": [', "]", "}", "\\", "\\u00e9", "\\ud800", "é", "İ", "👩‍🚀", "\r\n", "\t", "\u2028", "\x00",
        "Looking at vim again, ", "I'm sorry, but ", "0.9", "%",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(CHARS, max_size=60),
    st.lists(st.one_of(SCRAPS, st.text(CHARS, max_size=5)), max_size=40).map("".join),
    st.tuples(st.just(ANSWER), st.integers(0, len(ANSWER)), st.text(CHARS, max_size=4)).map(lambda p: p[0][: p[1]] + p[2]),
)
ROWS = st.fixed_dictionaries(
    {
        "completion_text": st.none() | TEXTS,
        "reasoning_text": st.none() | TEXTS,
        "finish_reason": st.sampled_from(["stop", "length", "connection_cut", "content_filter", None]),
        "variant": st.sampled_from(VARIANTS),
        "prompt_kind": st.sampled_from(["open", "candidates"]),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_parse_rows_takes_any_text(rows: list[dict[str, Any]]) -> None:
    raw = raw_rows(*rows)
    tables = parse_rows(raw, LINKER)
    texts = {row["request_hash"]: row for row in raw.iter_rows(named=True)}
    assert_every_row_once(raw, tables)
    for name in ("core_shortlist", "core_steps", "core_answers"):
        frame = tables[name]
        assert frame.select(TABLES[name].key).is_unique().all()
        for row in frame.iter_rows(named=True):
            quoted = texts[row["request_hash"]][row["span_source"]][row["char_start"] : row["char_end"]]
            assert quoted
            if name == "core_steps":
                assert quoted == row["step_text"]
            elif quoted[0] != "[":
                assert row["mention_text"] in quoted or "\\" in quoted or quoted.isdigit()
    for row in tables["core_traces"].iter_rows(named=True):
        steps = tables["core_steps"].filter(pl.col("trace_id") == row["trace_id"])
        assert len(steps) == row["step_count"]
        assert row["boundary_step"] is None or row["boundary_step"] < row["step_count"]
        assert 0 <= row["out_of_catalogue_frac"] <= 1


def assert_every_row_once(raw: pl.DataFrame, tables: ParsedTables) -> None:
    keys = {f"{row['request_hash']}:{row['document_id']}" for row in raw.iter_rows(named=True)}
    traces = {f"{row['request_hash']}:{row['document_id']}" for row in tables["core_traces"].iter_rows(named=True)}
    rejects = set(tables["core_rejects"]["source_key"])
    assert traces | rejects == keys
    assert not traces & rejects
    assert len(tables["core_traces"]) + len(tables["core_rejects"]) == len(raw)
