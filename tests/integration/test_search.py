"""Search settings of encoder students on a tiny stage: equal trials, killed and gone on with, and a file that trains."""

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from schemas.errors import ConfigError
from schemas.refs import StageInputs, StageOutput, StageResult
from schemas.student_settings import DistillConfig, SearchConfig
from tasks.runs.task import load_config
from tasks.students.search.task import list_choices, search_settings
from tests.integration.test_students import DISTILL, EMBED, Stage, make_stage, trace_rows
from tests.support.given_tables import put
from warehouse.parquet import read_table
from warehouse.settings_files import SETTINGS_FILE

ROOT = Path(__file__).parents[2]
SEARCH = SearchConfig(trials=3)
KILLED_AFTER_TWO = """
import os, signal, sys
from pathlib import Path
import warehouse.trial_store as store
from tests.integration.test_search import look, make_stage

write, done = store.write_bytes, []

def write_then_die(path, content):
    write(path, content)
    done.append(path)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

store.write_bytes = write_then_die
look(make_stage(Path(sys.argv[1])))
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def look(stage: Stage, search: SearchConfig = SEARCH, distill: DistillConfig = DISTILL) -> StageResult:
    return search_settings.fn(stage.run, stage.inputs, distill, EMBED, search)


def stored(stage: Stage) -> dict[str, int]:
    """When each trial was stored, by its place."""
    folder = stage.run.root_path / "cache" / "search"
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def settings_file(result: StageResult) -> Path:
    return Path(result.artifacts[0].path) / SETTINGS_FILE


def test_search_settings_gives_every_method_the_same_trials_and_chooses_one_each(stage: Stage) -> None:
    rows = read_table(look(stage).tables[0])
    tried = rows.group_by("system").agg(pl.col("setting_json").unique().sort()).sort("system")
    assert tried["system"].to_list() == ["answers", "mechanistic"]
    assert tried["setting_json"][0].to_list() == tried["setting_json"][1].to_list()
    assert len(tried["setting_json"][0]) == 3
    assert set(rows["metric"]) == {"precision_at_1", "recall_at_10", "objective"}
    best = rows.filter(pl.col("metric") == "objective").group_by("system").agg(pl.col("value").max())
    chosen = rows.filter("is_chosen", pl.col("metric") == "objective").select("system", "value")
    assert sorted(chosen.iter_rows()) == sorted(best.iter_rows())


def test_search_settings_writes_a_file_that_distill_takes(stage: Stage) -> None:
    result = look(stage)
    config = load_config("tiny", str(settings_file(result)), [])
    overrides = yaml.safe_load(settings_file(result).read_text())["distill"]["overrides"]
    assert config.distill.overrides == overrides
    assert overrides["answers"].keys() == {"learning_rate", "weight_decay", "temperature"}
    assert overrides["mechanistic"].keys() == {"learning_rate", "weight_decay", "temperature", "lambda_p1", "lambda_p2"}
    stage.train(DISTILL.model_copy(update={"overrides": config.distill.overrides}))


def test_list_choices_prints_the_file(stage: Stage) -> None:
    result = look(stage)
    output = StageOutput(
        stage="search", dataset="tiny", run_id="r1", fingerprint="f", inputs=(), tables=result.tables,
        artifacts=result.artifacts, cost=result.cost, duration_s=1.0, published_at="2026-01-01T00:00:00",
    )  # fmt: skip
    (what, path), *lines = list_choices(output)
    assert (what, path) == ("settings", str(settings_file(result)))
    assert "\n".join(line for _, line in lines) + "\n" == settings_file(result).read_text()


def test_search_settings_longer_runs_only_the_new_trials(stage: Stage) -> None:
    first = read_table(look(stage).tables[0])
    before = stored(stage)
    assert len(before) == 6
    longer = read_table(look(stage, SearchConfig(trials=5)).tables[0])
    after = stored(stage)
    assert len(after) == 10
    assert {name: after[name] for name in before} == before
    kept = longer.filter(pl.col("trial") < 3)
    assert kept.drop("is_chosen").equals(first.drop("is_chosen"))


def test_search_settings_of_another_budget_runs_all_anew(stage: Stage) -> None:
    look(stage)
    look(stage, distill=DISTILL.model_copy(update={"refiner_steps": 7}))
    assert len(stored(stage)) == 12


def test_search_settings_killed_between_trials_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = read_table(look(make_stage(tmp_path / "whole")).tables[0])
    ended = subprocess.run([sys.executable, "-c", KILLED_AFTER_TWO, tmp_path / "killed"], cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    stage = make_stage(tmp_path / "killed")
    before = stored(stage)
    assert 2 <= len(before) < 6
    assert read_table(look(stage).tables[0]).equals(whole)
    assert {name: stored(stage)[name] for name in before} == before


def test_search_settings_makes_a_damaged_trial_anew(stage: Stage) -> None:
    first = read_table(look(stage).tables[0])
    damaged = next((stage.run.root_path / "cache" / "search").rglob("answers-*.json"))
    damaged.write_text('{"metrics": {')
    assert read_table(look(stage).tables[0]).equals(first)


def test_search_settings_looks_at_neither_test_documents_nor_known_targets(stage: Stage) -> None:
    first = read_table(look(stage).tables[0])
    barred = read_table(stage.inputs.tables["core_relevance"]).filter("is_filtered")
    documents = read_table(stage.inputs.tables["core_documents"]).filter(pl.col("split") == "train")
    given = {
        "core_relevance": put(stage.run, "core_relevance", barred.to_dicts()),
        "core_documents": put(stage.run, "core_documents", documents.to_dicts()),
    }
    blind = Stage(stage.run, StageInputs(tables={**stage.inputs.tables, **given}, artifacts=stage.inputs.artifacts))
    assert read_table(look(blind).tables[0]).equals(first)
    assert len(stored(blind)) == 12  # other inputs: all were made anew


def test_search_settings_refuses_a_seed_that_is_reported(stage: Stage) -> None:
    with pytest.raises(ConfigError, match=r"holds \[0\] of distill\.seeds"):
        look(stage, SearchConfig(seeds=(0,)))


def test_search_settings_follows_the_teachers_labels(stage: Stage) -> None:
    first = read_table(look(stage).tables[0])
    answers = trace_rows()["core_answers"]
    moved = [row | {"label_id": (int(str(row["label_id"])) + int(str(row["document_id"])[5:]) // 10) % 10} for row in answers[1:]]
    given = {"core_answers": put(stage.run, "core_answers", [answers[0], *moved])}
    other = Stage(stage.run, StageInputs(tables={**stage.inputs.tables, **given}, artifacts=stage.inputs.artifacts))
    assert not read_table(look(other).tables[0]).drop("is_chosen").equals(first.drop("is_chosen"))
