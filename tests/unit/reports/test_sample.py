from dataclasses import replace

import polars as pl

from schemas.selections import whole_traces
from tasks.reports.sample import cut_text, sample_traces, trace_views
from tests.unit.reports.report_frames import REASONING, SAMPLE, STEPS, TRACES

NAMES = {0: "vim", 1: "nano"}


def test_whole_traces_leaves_out_single_phases_and_further_samples() -> None:
    variants = [
        TRACES.with_columns(variant=pl.lit(variant), sample_index=pl.lit(sample, pl.Int32))
        for variant, sample in (("phase-1", 0), ("both", 0), ("both", 1), ("phase-2-stranger", 0))
    ]
    assert whole_traces(pl.concat(variants)).equals(TRACES)


def test_sample_traces_is_the_same_whatever_the_order_of_rows() -> None:
    many = pl.concat([TRACES.with_columns(pl.concat_str(pl.col("trace_id"), pl.lit(str(i))).alias("trace_id")) for i in range(5)])
    chosen = sample_traces(many, 4)["trace_id"].to_list()
    assert sample_traces(many.reverse(), 4)["trace_id"].to_list() == chosen


def test_sample_traces_takes_formats_and_splits_in_turn() -> None:
    more = TRACES.filter(pl.col("answer_format") == "prose")
    many = pl.concat([TRACES] + [more.with_columns(pl.lit(f"0{i}").alias("trace_id")) for i in range(5)])
    assert set(sample_traces(many, 2)["answer_format"]) == {"prose", "json"}
    assert sample_traces(many, 0).is_empty()


def test_cut_text_keeps_every_word_in_order() -> None:
    blocks = cut_text(REASONING, STEPS, NAMES)
    assert "".join("".join(b.text for b in blocks).split()) == "".join(REASONING.split())
    assert [(b.phase, b.verdict, b.target) for b in blocks] == [
        ("", "", ""),
        ("shortlist", "none", "vim"),
        ("refine", "drop", "nano"),
    ]


def test_cut_text_shortens_long_names_and_shows_the_number_of_an_unknown_label() -> None:
    assert [b.target for b in cut_text(REASONING, STEPS, {0: "x" * 100})] == ["", "x" * 48 + "…", "1"]


def test_cut_text_leaves_out_commas_and_brackets_between_steps() -> None:
    steps = STEPS.with_columns(char_start=pl.Series([1, 6], dtype=pl.Int32), char_end=pl.Series([4, 9], dtype=pl.Int32))
    assert [b.text for b in cut_text("[abc, ???]", steps, NAMES)] == ["abc", "???"]


def test_cut_text_gives_an_overlap_to_the_first_step() -> None:
    steps = STEPS.with_columns(char_start=pl.Series([0, 4], dtype=pl.Int32), char_end=pl.Series([8, 12], dtype=pl.Int32))
    assert [b.text for b in cut_text("abcdefghijklmn", steps, NAMES)] == ["abcdefgh", "ijkl", "mn"]


def test_cut_text_survives_a_span_beyond_the_text() -> None:
    steps = STEPS.with_columns(char_start=pl.Series([2, 90], dtype=pl.Int32), char_end=pl.Series([80, 95], dtype=pl.Int32))
    assert [b.text for b in cut_text("abcd", steps, NAMES)] == ["ab", "cd"]


def test_trace_views_show_links_targets_and_what_was_missed() -> None:
    first, second = trace_views(SAMPLE)
    assert [[cell.text for cell in row[1:]] for row in first.answers.rows] == [
        ["vim", "vim", "fuzzy, 0.93", "yes"],
        ["cat <script>alert('x')</script>", "not in the catalogue", "none", "no"],
    ]
    assert [name.split()[0] for name in first.missed] == ["cat"]
    assert [part.source for part in first.parts] == ["reasoning_text", "completion_text"]
    assert [part.source for part in second.parts] == ["completion_text"]


def test_trace_views_do_not_count_a_filtered_pair_as_a_known_target() -> None:
    shortlist = {row[1].text: row[4].text for row in trace_views(SAMPLE)[0].shortlist.rows}
    assert shortlist == {"vim": "yes", "nano": "no"}


def test_trace_views_survive_a_document_that_is_gone() -> None:
    gone = replace(SAMPLE, documents=SAMPLE.documents.clear(), raw=SAMPLE.raw.clear())
    view = trace_views(gone)[0]
    assert (view.title, view.document_text, view.parts) == ("", "", ())
