"""Forms that are learned, phases asked for apart, several samples, and failed requests sent again by reason."""

from pathlib import Path

import polars as pl
import pytest

from schemas.config import FaultRates
from schemas.errors import FatalTeacherError, SchemaRefusedError, TeacherError
from schemas.refs import RetryRules
from tests.support.asked_run import COUNT, asked

ROWS = COUNT + 1
APART = ("both", "phase-1", "phase-2-teacher", "phase-2-stranger")


@pytest.mark.parametrize(
    ("answer_format", "structured_output", "learned", "wasted"),
    [("asked", "taken", "json_schema", 0), ("asked", "refused", "tagged", 1), ("prose", "ignored", "free", 6)],
)
def test_the_form_of_answers_is_learned_once_and_remembered(
    tmp_path: Path, answer_format: str, structured_output: str, learned: str, wasted: int
) -> None:
    with asked(tmp_path, FaultRates(), answer_format, structured_output) as teacher:
        frame = teacher.traces(answer_form="auto", concurrency=1)
        assert set(frame["asked_form"]) == {learned}
        assert teacher.count() == ROWS + wasted
        more = teacher.traces(answer_form="auto", sample_count=2)
        assert teacher.count() == 2 * ROWS + wasted
    assert set(more["asked_form"]) == {learned}


def test_a_refused_schema_that_was_asked_for_by_name_stops_at_once(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates(), "asked", "refused") as teacher:
        with pytest.raises(SchemaRefusedError, match=r"does not take structured output.*set teacher\.answer_form: tagged"):
            teacher.traces(answer_form="json_schema", concurrency=1)
        assert teacher.count() == 1


def test_phases_are_asked_apart_and_phase_2_is_given_what_phase_1_listed(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates(), "asked") as teacher:
        frame = teacher.traces(variants=APART, answer_form="tagged")
        asked_count = teacher.count()
        teacher.traces(variants=(*APART[:2],), answer_form="tagged")
        assert teacher.count() == asked_count == 4 * ROWS - 1
    assert frame.group_by("variant").len().sort("variant").rows() == [(variant, ROWS) for variant in sorted(APART)]
    alone = frame.filter(pl.col("error_kind").is_not_null())  # the only test document: nobody can lend it a shortlist
    assert alone.select("document_id", "variant", "error_kind").rows() == [("t", "phase-2-stranger", "no_shortlist")]
    assert frame["request_hash"].n_unique() == frame.height
    text = {(row["variant"], row["document_id"]): row["completion_text"] for row in frame.iter_rows(named=True)}
    assert "<answer>" not in text["phase-1", "d0"]
    assert "<shortlist>" not in text["phase-2-teacher", "d0"]
    listed = text["phase-1", "d0"].split("\n")[1:-1]
    kept = text["phase-2-teacher", "d0"].partition("<answer>\n")[2].split("\n")[:-1]
    assert kept
    assert set(kept) <= set(listed)


def test_a_document_without_a_shortlist_has_a_row_that_says_so(tmp_path: Path) -> None:
    schedule = ("ok",) * 5 + ("refusal",) * 3
    with asked(tmp_path, FaultRates(schedule=schedule), "asked") as teacher:
        frame = teacher.traces(variants=("phase-1", "phase-2-teacher"), answer_form="json", concurrency=1)
    missing = frame.filter(error_kind="no_shortlist")
    assert missing.height == 3
    assert set(missing["variant"]) == {"phase-2-teacher"}
    refused = frame.filter((pl.col("variant") == "phase-1") & pl.col("completion_text").str.contains("sorry|unable"))
    assert set(missing["document_id"]) == set(refused["document_id"])


def test_samples_differ_have_keys_of_their_own_and_repeat_with_their_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with asked(tmp_path / name, FaultRates(), "prose") as teacher:
            frame = teacher.traces(sample_count=3, seed=11, temperature=0.8)
            assert teacher.count() == 3 * ROWS
            texts = frame.sort("document_id", "sample_index")["reasoning_text"].to_list()
        if name == "one":
            first = texts
    assert first == texts
    assert frame["sample_index"].value_counts().sort("sample_index").rows() == [(n, ROWS) for n in range(3)]
    assert frame.group_by("document_id").agg(pl.col("reasoning_text").n_unique())["reasoning_text"].min() == 3


def test_failed_requests_alone_are_sent_again_by_reason_if_wanted(tmp_path: Path) -> None:
    schedule = ("server_error",) * 4 + ("empty_choices",) * 3 + ("cut_off",) * 2
    with asked(tmp_path, FaultRates(schedule=schedule)) as teacher:
        frame = teacher.traces(max_attempts=1, concurrency=1, max_documents=30)
        assert frame["error_kind"].value_counts(sort=True).rows()[1:] == [("http_500", 4), ("empty_choices", 3)]
        before = teacher.count()
        only = RetryRules(is_only_failed=True, reasons=("empty_choices",))
        frame = teacher.traces(only, max_attempts=1, max_documents=35)  # five that were never asked are not asked now
        assert teacher.count() - before == 3
        assert frame["error_kind"].value_counts(sort=True).rows()[1:] == [("never_asked", 5), ("http_500", 4)]
        teacher.traces(RetryRules(is_only_failed=True), max_documents=30)
        assert teacher.count() - before == 7
        cut = teacher.traces(RetryRules(reasons=("length",)), max_documents=30)
        assert teacher.count() - before == 9
    assert "length" not in cut["finish_reason"]
    assert cut["error_kind"].null_count() == cut.height


def test_a_failed_retry_does_not_take_the_place_of_a_cut_answer(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates(schedule=("cut_off", *["ok"] * COUNT, "server_error"))) as teacher:
        first = teacher.traces(concurrency=1).filter(finish_reason="length")
        again = teacher.traces(RetryRules(reasons=("length",)), max_attempts=1).filter(finish_reason="length")
        assert teacher.count() == ROWS + 1
    assert first.height == 1
    assert again.equals(first)


def test_a_share_of_failures_stops_the_run_and_a_few_do_not(tmp_path: Path) -> None:
    with asked(tmp_path / "few", FaultRates(server_error=0.15)) as teacher:
        frame = teacher.traces(max_attempts=1, max_error_frac=0.3)
        assert 0 < frame["error_kind"].count() < 12
    with asked(tmp_path / "many", FaultRates(server_error=1.0)) as teacher:
        with pytest.raises(TeacherError, match=r"max_error_frac 0\.3.*http_500") as error:
            teacher.traces(max_attempts=1, max_error_frac=0.3)
        assert not isinstance(error.value, FatalTeacherError)
