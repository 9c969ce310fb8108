"""Search settings of decoder students on a tiny decoder: equal trials, gone on with after a kill, and a file that trains."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from schemas.config import HeadsConfig
from schemas.errors import ConfigError, MissingTableError
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.student_settings import DecoderStudentsConfig, SearchConfig
from tasks.decoder_students.search.task import search_decoder_settings
from tasks.decoder_students.task import distill_decoder_students
from tasks.open_models.models import DECODER, ModelRef
from tasks.runs.task import load_config
from tests.integration.test_decoder import EMBED, make_stage
from tests.support.given_tables import put
from warehouse.decoder_students_store import load_student_description
from warehouse.parquet import read_table
from warehouse.settings_files import SETTINGS_FILE

HEADS = HeadsConfig(model=DECODER, device="cpu")
STUDENTS = DecoderStudentsConfig(
    methods=("answers", "cot"), layers=1, d_model=16, heads=2, kv_heads=1, train_steps=6, batch_size=8, phase1_heads=1,
    phase2_heads=1, dev_frac=0.2, device="cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """What the task is given."""

    run: RunRef
    inputs: StageInputs
    model: ModelRef

    def look(self, trials: int = 2, students: DecoderStudentsConfig = STUDENTS, seed: int = 100) -> StageResult:
        search = SearchConfig(trials=trials, seeds=(seed,))
        return search_decoder_settings.fn(self.run, self.inputs, self.model, students, HEADS, EMBED, search)

    def stored(self) -> dict[str, int]:
        """When each trial was stored, by its place."""
        folder = self.run.root_path / "cache" / "search"
        return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products wait longer for a second thread than they take."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = make_stage(tmp_path)
    trained = made.train().artifacts[0]
    given = {name: put(made.run, name, []) for name in ("core_relevance", "raw_traces", "core_head_scores")}
    inputs = StageInputs(tables={**made.inputs.tables, **given}, artifacts=made.inputs.artifacts)
    return Stage(made.run, inputs, ModelRef(trained.path, trained.content_hash, DECODER, is_compact=True))


def test_search_decoder_settings_gives_every_method_the_same_trials_and_a_file_that_trains(stage: Stage) -> None:
    result = stage.look(3)
    rows = read_table(result.tables[0])
    tried = rows.group_by("system").agg(pl.col("setting_json").unique().sort()).sort("system")
    assert tried["system"].to_list() == ["decoder-answers", "decoder-cot"]
    assert tried["setting_json"][0].to_list() == tried["setting_json"][1].to_list()
    assert len(tried["setting_json"][0]) == 3
    assert set(rows["metric"]) == {"recall_at_10", "objective"}
    assert rows.filter("is_chosen").select("system", "trial").unique().height == 2
    file = Path(result.artifacts[0].path) / SETTINGS_FILE
    overrides = yaml.safe_load(file.read_text())["decoder_students"]["overrides"]
    assert load_config("tiny", str(file), []).decoder_students.overrides == overrides
    assert {method: set(chosen) for method, chosen in overrides.items()} == {
        "answers": {"learning_rate"},
        "cot": {"learning_rate"},
    }


def test_search_decoder_settings_after_a_kill_or_longer_runs_only_what_is_missing(stage: Stage) -> None:
    first = read_table(stage.look(2).tables[0])
    before = stage.stored()
    assert len(before) == 4
    lost = next(iter(before))
    (stage.run.root_path / "cache" / "search" / lost).unlink()  # as if killed before it
    assert read_table(stage.look(2).tables[0]).equals(first)
    again = stage.stored()
    assert {name: again[name] for name in before if name != lost} == {name: before[name] for name in before if name != lost}
    stage.look(3)
    assert len(stage.stored()) == 6
    assert {name: stage.stored()[name] for name in again} == again


def test_search_decoder_settings_refuses_reported_seeds_missing_heads_and_models_of_folders(stage: Stage) -> None:
    with pytest.raises(ConfigError, match=r"holds \[0\] of decoder_students\.seeds"):
        stage.look(seed=0)
    with pytest.raises(MissingTableError, match="core_head_scores"):
        stage.look(students=STUDENTS.model_copy(update={"methods": ("mechanistic",)}))
    with pytest.raises(ConfigError, match=r"decoder_students\.student is null"):
        replace(stage, model=replace(stage.model, is_compact=False)).look()


def test_distill_decoder_students_for_seconds_sets_its_steps_beforehand(stage: Stage) -> None:
    students = STUDENTS.model_copy(update={"methods": ("cot",), "seeds": (0,), "max_cpu_s": 4.0})
    result = distill_decoder_students.fn(stage.run, stage.inputs, stage.model, students, HEADS, EMBED)
    folder = Path(result.artifacts[0].path) / "decoder-cot-seed0"
    found = load_student_description(folder)
    assert found.step_count == found.settings.train_steps > STUDENTS.train_steps
    assert 0 < found.train_cpu_s <= 4.0 * 1.5
    assert f"{found.step_count} of at most {found.step_count} that fit 4 CPU seconds" in (folder / "README.md").read_text()
