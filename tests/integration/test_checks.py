"""The gate on real Parquet files: a good set passes; spoilt in one way at a time, it is stopped with a message that says how."""

import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from schemas.checks import RowRule
from schemas.config import PipelineConfig
from schemas.errors import CheckFailedError, StorageError
from schemas.refs import RunRef, TableRef
from schemas.tables import OUT_CHECKS, TABLES
from tasks.checks.expectations import Expectation
from tasks.checks.gate import judge
from tasks.checks.profile import Measurement
from tasks.checks.task import check_tables, write_quality_pages
from warehouse.layout import checks_path
from warehouse.parquet import write_table

Spoil = Callable[[pl.DataFrame], pl.DataFrame]
DOCUMENTS = 10
LABELS = 6
RANKS = 3


def table(name: str, count: int, **columns: pl.Expr | object) -> pl.DataFrame:
    """`count` rows of a table; `i` numbers them, what is not given is null or the dataset's name."""
    numbered = pl.DataFrame({"i": range(count)}).with_columns(dataset=pl.lit("tiny"))
    given = numbered.with_columns(**{k: v if isinstance(v, pl.Expr) else pl.lit(v) for k, v in columns.items()})
    missing = [pl.lit(None).alias(c) for c in TABLES[name].columns if c not in given.columns]
    return TABLES[name].conform(given.with_columns(missing))


def good_frames() -> dict[str, pl.DataFrame]:
    i = pl.col("i")
    document = pl.format("d{}", i)
    of_trace = {"trace_id": pl.format("t{}", i // RANKS), "document_id": pl.format("d{}", i // RANKS), "rank": i % RANKS + 1}
    return {
        "core_documents": table(
            "core_documents", DOCUMENTS, document_id=document, split="train", title_text="a", document_text="a\nb", text_hash="h"
        ),
        "core_labels": table(
            "core_labels",
            LABELS,
            label_id=i,
            label_uid=pl.format("l{}", i),
            label_name="vim",
            description_text="",
            text_hash="h",
        ),
        "raw_traces": table(
            "raw_traces",
            DOCUMENTS,
            request_hash=pl.format("r{}", i),
            document_id=document,
            split="train",
            teacher="stand-in",
            endpoint="http://127.0.0.1",
            prompt_kind="open",
            variant="both",
            asked_form="json",
            messages_hash="m",
            sample_index=0,
            completion_text="answer",
            attempt_count=1,
            asked_at=datetime(2026, 11, 30, tzinfo=UTC),
        ),
        "core_traces": table(
            "core_traces",
            DOCUMENTS,
            trace_id=pl.format("t{}", i),
            request_hash=pl.format("r{}", i),
            document_id=document,
            split="train",
            teacher="stand-in",
            prompt_kind="open",
            variant="both",
            sample_index=0,
            answer_format="prose",
            boundary_step=1,
            boundary_evidence_text="verdict",
            step_count=4,
            shortlist_count=3,
            answer_count=1,
            is_truncated=False,
            out_of_catalogue_frac=0.0,
        ),
        "core_shortlist": table(
            "core_shortlist",
            DOCUMENTS * RANKS,
            **of_trace,
            request_hash=pl.format("r{}", i // RANKS),
            mention_text="vim",
            label_id=i % LABELS,
            link_score=1.0,
            link_method="exact",
            span_source="reasoning_text",
            char_start=0,
            char_end=3,
        ),
    }


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return RunRef(root=str(tmp_path), run_id="run-1", dataset="tiny", command="parse", config=PipelineConfig())


def write_all(run: RunRef, frames: Mapping[str, pl.DataFrame]) -> dict[str, TableRef]:
    return {name: write_table(run, "parse", TABLES[name], frame) for name, frame in frames.items()}


def check(run: RunRef, refs: Mapping[str, TableRef], *names: str) -> tuple[TableRef, ...]:
    """Check the named tables, the others being known."""
    known = tuple(ref for name, ref in refs.items() if name not in names)
    return check_tables.fn(run, "parse", tuple(refs[name] for name in names), known)


def stopped(run: RunRef, name: str, spoil: Spoil) -> list[str]:
    """The lines of the message that stops a run whose table was spoilt on disk."""
    refs = write_all(run, good_frames())
    spoil(pl.read_parquet(refs[name].path)).write_parquet(refs[name].path)
    with pytest.raises(CheckFailedError) as raised:
        check(run, refs, "core_traces", "core_shortlist")
    return [line.strip() for line in str(raised.value).splitlines()[1:]]


def outcomes(run: RunRef) -> pl.DataFrame:
    return pl.read_parquet(checks_path(run.root_path, run.run_id, "parse"))


def where(column: str, rows: list[int], value: object) -> Spoil:
    """Put `value` into some rows of a column."""
    is_row = pl.int_range(pl.len()).is_in(rows)
    return lambda frame: frame.with_columns(pl.when(is_row).then(pl.lit(value)).otherwise(column).alias(column))


def test_check_tables_lets_a_good_set_pass(run: RunRef, capfd: pytest.CaptureFixture[str]) -> None:
    refs = write_all(run, good_frames())
    assert check(run, refs, *refs) == tuple(refs.values())
    found = outcomes(run)
    assert found.schema == OUT_CHECKS.schema
    assert found["outcome"].unique().to_list() == ["passed"]
    assert found["table"].unique().sort().to_list() == sorted(refs)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "spoil", "lines"),
    [
        pytest.param(
            "core_traces",
            where("out_of_catalogue_frac", [1, 4], 1.5),
            [
                'core_traces.out_of_catalogue_frac: 2 of 10 rows (0.2) break "out_of_catalogue_frac lies in 0..1", '
                "e.g. trace_id=t1; trace_id=t4"
            ],
            id="share outside 0 to 1",
        ),
        pytest.param(
            "core_shortlist",
            where("trace_id", [5], None),
            [
                'core_shortlist.trace_id: 1 of 30 rows (0.03333) break "trace_id is not null", e.g. trace_id=null, rank=3',
            ],
            id="null in the key",
        ),
        pytest.param(
            "core_shortlist",
            where("rank", [0, 1, 2, 3, 4, 6, 7, 9, 10], 1),
            [
                'core_shortlist.trace_id, rank: 9 of 30 rows (0.3) break "the key (trace_id, rank) names one row", '
                "e.g. trace_id=t0, rank=1; trace_id=t1, rank=1; trace_id=t2, rank=1"
            ],
            id="duplicate key",
        ),
        pytest.param(
            "core_shortlist",
            where("label_id", [0, 1, 2, 3], 77),
            [
                'core_shortlist.label_id: 4 of 30 rows (0.1333) break "label_id occurs in core_labels", '
                "e.g. trace_id=t0, rank=1; trace_id=t0, rank=2; trace_id=t0, rank=3"
            ],
            id="broken reference",
        ),
        pytest.param(
            "core_traces",
            where("split", [9], "dev"),
            ["core_traces.split: 1 of 10 rows (0.1) break \"split is one of 'train', 'test'\", e.g. trace_id=t9"],
            id="value that is not allowed",
        ),
        pytest.param(
            "core_traces",
            lambda frame: frame.with_columns(pl.col("step_count").cast(pl.Int64)),
            [
                'core_traces.step_count: 10 of 10 rows (1) break "step_count is there, with type Int32" (the file has Int64), '
                "e.g. trace_id=t0; trace_id=t1; trace_id=t2"
            ],
            id="wrong type",
        ),
        pytest.param(
            "core_traces",
            lambda frame: frame.clear(),
            [
                'core_traces.*: 0 rows break "the table has at least 1 row"',
                'core_shortlist.trace_id: 30 of 30 rows (1) break "trace_id occurs in core_traces", '
                "e.g. trace_id=t0, rank=1; trace_id=t0, rank=2; trace_id=t0, rank=3",
            ],
            id="no rows",
        ),
    ],
)
def test_check_tables_stops_a_spoilt_table(run: RunRef, name: str, spoil: Spoil, lines: list[str]) -> None:
    assert stopped(run, name, spoil) == lines
    assert outcomes(run).filter(pl.col("outcome") != "passed", severity="error").height == len(lines)


def test_check_tables_tells_a_missing_column_from_the_rules_that_cannot_run_without_it(run: RunRef) -> None:
    failed, unknown = stopped(run, "core_shortlist", lambda frame: frame.drop("link_score"))
    assert failed.startswith('core_shortlist.link_score: 30 of 30 rows (1) break "link_score is there, with type Float64"')
    assert failed.endswith("(the file has no such column), e.g. trace_id=t0, rank=1; trace_id=t0, rank=2; trace_id=t0, rank=3")
    assert unknown.startswith('core_shortlist.link_score: could not run "link scores lie in 0..1": Binder Error')
    found = outcomes(run).filter(column="link_score", table="core_shortlist").sort("outcome")
    assert found["outcome"].to_list() == ["could_not_run", "failed"]
    assert found["unexpected_count"].to_list() == [None, 30]
    assert "link_score" in found["example_keys_text"][0]


def test_check_tables_cannot_run_on_a_truncated_file(run: RunRef) -> None:
    refs = write_all(run, good_frames())
    path = Path(refs["core_traces"].path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CheckFailedError, match=r"checks could not run .* is not a whole Parquet file") as raised:
        check(run, refs, "core_traces", "core_shortlist")
    lines = str(raised.value).splitlines()
    assert "run `ctd parse tiny` again" in lines[1]
    assert lines[2].strip().startswith('core_shortlist.trace_id: could not run "trace_id occurs in core_traces"')
    assert outcomes(run).filter(table="core_traces")["outcome"].unique().to_list() == ["could_not_run"]


def test_check_tables_cannot_run_on_a_missing_file(run: RunRef) -> None:
    refs = write_all(run, good_frames())
    Path(refs["core_shortlist"].path).unlink()
    with pytest.raises(CheckFailedError, match=r"core_shortlist\.\*: \d+ checks could not run .*core_shortlist.parquet is gone"):
        check(run, refs, "core_shortlist")


def test_check_tables_cannot_run_a_reference_into_a_table_it_does_not_know(run: RunRef) -> None:
    refs = write_all(run, good_frames())
    with pytest.raises(CheckFailedError, match=r"could not run .*core_labels is not among the tables given"):
        check_tables.fn(run, "parse", (refs["core_shortlist"],), (refs["core_traces"],))


def test_check_tables_only_warns_of_a_rule_of_severity_warn(run: RunRef, caplog: pytest.LogCaptureFixture) -> None:
    frames = good_frames()
    unlinked = {"label_id": None, "link_score": None, "link_method": "none"}
    for column, value in unlinked.items():
        frames["core_shortlist"] = where(column, list(range(12)), value)(frames["core_shortlist"])
    with caplog.at_level(logging.WARNING):
        check(run, write_all(run, frames), "core_shortlist")
    assert [r.getMessage() for r in caplog.records if r.name == "tasks.checks.task"] == [
        'core_shortlist.label_id: 12 of 30 rows (0.4 > 0.2 allowed) break "mentions link to a label", '
        "e.g. trace_id=t0, rank=1; trace_id=t0, rank=2; trace_id=t0, rank=3"
    ]
    assert outcomes(run).filter(outcome="failed")["severity"].to_list() == ["warn"]


def test_check_tables_allows_a_share_up_to_the_limit(run: RunRef) -> None:
    frames = good_frames()
    frames["core_traces"] = where("boundary_step", [0, 1], None)(frames["core_traces"])
    check(run, write_all(run, frames), "core_traces")
    found = outcomes(run).filter(expectation="the trace has a refinement phase").row(0, named=True)
    assert (found["outcome"], found["unexpected_count"], found["unexpected_frac"]) == ("passed", 2, 0.2)


def test_check_tables_reads_a_folder_of_parts(run: RunRef) -> None:
    refs = write_all(run, good_frames())
    frame = pl.read_parquet(refs["core_traces"].path)
    folder = run.root_path / "parts of [core]"
    folder.mkdir()
    frame.head(6).write_parquet(folder / "part-0.parquet")
    frame.tail(5).write_parquet(folder / "part-1.parquet")
    refs["core_traces"] = refs["core_traces"].model_copy(update={"path": str(folder)})
    with pytest.raises(CheckFailedError, match=r"2 of 11 rows \(0.1818\) break .*, e.g. trace_id=t5$"):
        check(run, refs, "core_traces")


@pytest.mark.parametrize(
    ("share", "max_frac", "outcome"),
    [
        (0.0, 0.0, "passed"),
        (1e-9, 0.0, "failed"),
        (0.05, 0.05, "passed"),
        (0.051, 0.05, "failed"),
        (None, 0.0, "could_not_run"),
        (float("nan"), 0.0, "could_not_run"),
    ],
)
def test_judge_compares_the_share_with_what_is_allowed(share: float | None, max_frac: float, outcome: str) -> None:
    rule = RowRule("score", "score >= 0", "not negative", "warn", max_frac)
    measured = Measurement(Expectation("core_traces", "score", "not negative", rule, "warn", max_frac), 10, 1, share)
    (verdict,) = judge([measured])
    assert verdict.outcome == outcome
    assert (verdict.measurement.unexpected_count is None) == (outcome == "could_not_run")


def test_judge_gives_the_reason_of_great_expectations_when_it_has_no_result() -> None:
    rule = RowRule("score", "score >= 0", "not negative")
    (verdict,) = judge([Measurement(Expectation("core_traces", "score", "not negative", rule), 10)])
    assert "check_0" in verdict.measurement.note


def test_check_tables_is_never_retried() -> None:
    assert check_tables.retries == 0


def test_write_quality_pages_shows_what_the_gate_found(run: RunRef) -> None:
    lines = stopped(run, "core_traces", where("out_of_catalogue_frac", [1], -1.0))
    index = Path(write_quality_pages.fn(run, (str(checks_path(run.root_path, run.run_id, "parse")),)))
    assert sorted(page.name for page in index.parent.iterdir()) == ["core_shortlist.html", "core_traces.html", "index.html"]
    assert "1 failed" in index.read_text()
    assert "trace_id=t1" in lines[0]
    assert "trace_id=t1" in (index.parent / "core_traces.html").read_text()


def test_write_quality_pages_names_a_file_it_cannot_read(run: RunRef) -> None:
    with pytest.raises(StorageError, match=r"gone\.parquet"):
        write_quality_pages.fn(run, (str(run.root_path / "gone.parquet"),))
