"""The report from real Parquet in a temporary root: the file, what is missing on it, and how a browser reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from schemas.config import ReportConfig
from schemas.errors import StorageError
from schemas.refs import RunRef, StageInputs, TableRef
from schemas.tables import TABLES
from tasks.reports.task import write_report
from tests.support.runs import tiny_run
from tests.unit.reports import report_frames as toy
from tests.unit.reports.outline import Outline
from warehouse.parquet import write_table

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PUBLISHED = {
    "core_documents": toy.DOCUMENTS,
    "core_labels": toy.LABELS,
    "core_relevance": toy.RELEVANCE,
    "raw_traces": toy.RAW,
    "core_traces": toy.TRACES,
    "core_shortlist": toy.SHORTLIST,
    "core_steps": toy.STEPS,
    "core_answers": toy.ANSWERS,
    "core_trajectories": toy.TRAJECTORIES,
    "core_train_steps": toy.TRAIN_STEPS,
    "out_metrics": toy.METRICS,
    "out_contrasts": toy.CONTRASTS,
    "out_verdicts": toy.VERDICTS,
    "characterize:out_metrics": toy.PHASE_METRICS,
    "characterize:out_contrasts": toy.PHASE_CONTRASTS,
    "decoder:core_train_steps": toy.DECODER_STEPS,
    "core_head_scores": toy.HEAD_SCORES,
    "core_head_profiles": toy.HEAD_PROFILES,
    "core_patch_effects": toy.PATCH_EFFECTS,
    "core_attention_insets": toy.ATTENTION_INSETS,
    "heads:core_trajectories": toy.HEAD_TRAJECTORIES,
    "heads:out_verdicts": toy.HEAD_VERDICTS,
    "fidelity:out_metrics": toy.FIDELITY_METRICS,
    "fidelity:core_trajectories": toy.FIDELITY_TRAJECTORIES,
    "out_costs": toy.COSTS,
    "ingest:core_rejects": TABLES["core_rejects"].empty(),
    "parse:core_rejects": toy.PARSE_REJECTS,
    "index:out_metrics": toy.INDEX_METRICS,
}


def publish(run: RunRef, name: str, frame: pl.DataFrame) -> TableRef:
    table = name.split(":")[-1]
    return write_table(run, name.replace(":", "-"), TABLES[table], frame)


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return tiny_run(tmp_path, dataset="toy")


@pytest.fixture
def inputs(run: RunRef) -> StageInputs:
    return StageInputs(tables={name: publish(run, name, frame) for name, frame in PUBLISHED.items()}, artifacts={})


def written(run: RunRef, inputs: StageInputs, sample_traces: int = 12) -> str:
    return Path(write_report.fn(run, inputs, ReportConfig(sample_traces=sample_traces))).read_text(encoding="utf-8")


def without(inputs: StageInputs, *names: str) -> StageInputs:
    return StageInputs(tables={name: ref for name, ref in inputs.tables.items() if name not in names}, artifacts={})


def test_write_report_writes_one_whole_page_at_its_place(run: RunRef, inputs: StageInputs) -> None:
    path = Path(write_report.fn(run, inputs, ReportConfig()))
    assert path == run.root_path / "reports" / "toy" / "index.html"
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    page = path.read_text(encoding="utf-8")
    assert Outline(page).open == []
    assert "Left out" not in page
    assert "1 train, 1 test" in page and "2 used, 3 rejected" in page
    assert toy.ATTACK not in page


def test_write_report_is_the_same_twice_but_for_the_time(run: RunRef, inputs: StageInputs) -> None:
    first, second = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "", written(run, inputs)) for _ in range(2))
    assert first == second


def test_write_report_without_any_table_writes_what_to_run(run: RunRef) -> None:
    page = written(run, StageInputs(tables={}, artifacts={}))
    assert "ctd evaluate toy" in page and "ctd index toy" in page
    assert not Outline(page).named("table")


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_write_report_survives_each_table_missing(run: RunRef, inputs: StageInputs, name: str) -> None:
    assert Outline(written(run, without(inputs, name))).open == []


def test_write_report_names_the_teacher_that_answered(run: RunRef, inputs: StageInputs) -> None:
    assert "not a language model" in written(run, inputs)
    real = toy.RAW.with_columns(teacher=pl.lit("some-model"), endpoint=pl.lit("https://api.example/v1"))
    other = StageInputs(tables=inputs.tables | {"raw_traces": publish(run, "raw_traces", real)}, artifacts={})
    page = written(run, other)
    assert "some-model" in page and "not a language model" not in page
    assert "none yet" in written(run, without(inputs, "raw_traces"))


def test_write_report_takes_no_notice_of_single_phases_and_further_samples(run: RunRef, inputs: StageInputs) -> None:
    others = [
        toy.TRACES.with_columns(trace_id=pl.lit(f"{name}-") + pl.col("trace_id"), **{name: pl.lit(value)})
        for name, value in (("variant", "phase-1"), ("sample_index", 1))
    ]
    traces = publish(run, "core_traces", pl.concat([toy.TRACES, *others], how="vertical_relaxed").cast(toy.TRACES.schema))
    page = written(run, StageInputs(tables=inputs.tables | {"core_traces": traces}, artifacts={}))
    assert "2 used, 3 rejected" in page and "phase-1-" not in page and "sample_index-" not in page


def test_write_report_shows_as_many_traces_as_asked(run: RunRef, inputs: StageInputs) -> None:
    shown = [len([a for a in Outline(written(run, inputs, n)).named("details") if a.get("class") == "trace"]) for n in (0, 1, 2)]
    assert shown == [0, 1, 2]


def test_write_report_refuses_a_table_that_is_gone(run: RunRef, inputs: StageInputs) -> None:
    Path(inputs.tables["core_steps"].path).unlink()
    with pytest.raises(StorageError, match="core_steps"):
        write_report.fn(run, inputs, ReportConfig())
    assert not (run.root_path / "reports").exists()


def test_write_report_takes_the_heads_from_their_own_stage(run: RunRef, inputs: StageInputs) -> None:
    page = written(run, inputs)
    assert "L1H2: 0.0160" in page and "early_heads_shortlist: said." in page and "Focus: decoder beside teacher" in page
    without_heads = [name for name in inputs.tables if name.startswith(("core_head", "core_patch", "core_attention", "heads:"))]
    bare = written(run, without(inputs, *without_heads))
    assert len(without_heads) == 6 and "ctd heads toy --model decoder" in bare and "beside teacher" not in bare


@pytest.fixture
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


def browse(browser: str, profile: Path, *arguments: str) -> str:
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_report_opens_in_a_browser_from_disk(run: RunRef, inputs: StageInputs, browser: str, tmp_path: Path) -> None:
    path = Path(write_report.fn(run, inputs, ReportConfig()))
    outline = Outline(browse(browser, tmp_path / "profile", "--dump-dom", path.as_uri()))
    source = Outline(path.read_text(encoding="utf-8"))
    for tag in ("section", "figure", "table", "details", "svg", "h1", "caption"):
        assert len(outline.named(tag)) == len(source.named(tag)) > 0
    assert not outline.named("script")


def test_report_does_not_scroll_sideways_on_a_phone(run: RunRef, inputs: StageInputs, browser: str, tmp_path: Path) -> None:
    page = Path(write_report.fn(run, inputs, ReportConfig())).read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    probe = "<script>const r = document.documentElement; document.title = r.scrollWidth + ' in ' + r.clientWidth</script></body>"
    (tmp_path / "inner.html").write_text(policy.sub("", page).replace("</body>", probe), encoding="utf-8")
    frame = tmp_path / "phone.html"
    frame.write_text(
        "<iframe src='inner.html' style='width:390px;height:800px;border:0'></iframe><p></p><script>"
        "onload = () => { document.querySelector('p').textContent = frames[0].document.title }</script>"
    )
    dom = browse(browser, tmp_path / "profile", "--allow-file-access-from-files", "--dump-dom", frame.as_uri())
    measured = re.search(r"<p>(\d+) in (\d+)</p>", dom)
    assert measured is not None and 300 < int(measured[1]) == int(measured[2]) <= 390
