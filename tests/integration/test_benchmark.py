"""What the benchmark is made of: its settings, slices, steps and page; its runs are the stages', tested on their own."""

from pathlib import Path
from typing import get_args

import pytest

from schemas.student_settings import DECODER_METHODS, Method
from tasks.datasets.task import ingest_dataset
from tasks.runs.task import load_config
from tests.bench.benchmark import slices
from tests.bench.benchmark.costs import Cost, Costs
from tests.bench.benchmark.pages import benchmark_page, percent
from tests.bench.benchmark.plan import DATASETS, SAMPLE, SETTINGS, VARIANT_SETTINGS, VARIANTS, Dataset, Step, parts_of, plan_steps
from tests.bench.benchmark.step_costs import beside_cot
from tests.bench.benchmark.working import remaining
from tests.support.runs import tiny_lf, tiny_run
from warehouse.parquet import read_table

ROW = {"ci_low": 0.1, "ci_high": 0.3, "document_count": 40, "seed_count": 5}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_settings_ask_for_every_method_and_five_seeds(dataset: Dataset) -> None:
    config = load_config(dataset.name, str(SETTINGS / f"{dataset.name}.yaml"), [])
    assert set(config.decoder_students.methods) == set(DECODER_METHODS)
    assert set(config.distill.methods) == set(get_args(Method))
    assert len(config.distill.seeds) == len(config.decoder_students.seeds) == 5
    assert config.teacher.variants == ("both",)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_settings_of_variants_are_settings(variant: object) -> None:
    settings = [*VARIANT_SETTINGS, *variant.settings]  # type: ignore[attr-defined]  # parametrize loses the type
    config = load_config("unnamed", str(SETTINGS / f"{SAMPLE}.yaml"), settings)
    assert config.distill.seeds == (0, 1, 2)


def test_take_slice_takes_the_first_documents_with_their_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lf(tmp_path / "data" / "tiny")
    monkeypatch.setenv(slices.DATA_VARIABLE, str(tmp_path / "data"))
    folder = slices.take_slice(Dataset("tiny", 2, 1), tmp_path)
    run = tiny_run(tmp_path)
    config = load_config("tiny", None, [f"ingest.path={folder}"]).ingest
    tables = {ref.table: read_table(ref) for ref in ingest_dataset.fn(run, config).tables}
    assert tables["core_documents"]["document_id"].sort().to_list() == ["d0", "d1", "t0"]
    assert tables["core_relevance"].filter("is_filtered")["document_id"].to_list() == ["d0"]


def test_plan_steps_evaluates_last_and_does_nothing_twice() -> None:
    steps = plan_steps("debian-tags", ("encoder", "decoder", "sensitivity"))
    assert [step.stage for step in steps][-2:] == ["evaluate", "tag"]
    assert len(steps) == len(set(steps))
    assert {step.dataset for step in steps} == {"debian-tags"}
    assert {"distill", "distill-decoder", "fidelity"} <= {step.stage for step in steps}


def test_plan_steps_of_the_encoder_part_needs_no_decoder() -> None:
    assert "decoder" not in {step.stage for step in plan_steps(SAMPLE, ("encoder", "sensitivity"))}


def test_parts_of_the_sample_leave_decoders_to_larger_datasets() -> None:
    sample = next(dataset for dataset in DATASETS if dataset.name == SAMPLE)
    assert parts_of(sample, DATASETS, ("encoder", "decoder")) == ("encoder",)
    assert parts_of(sample, [sample], ("encoder", "decoder")) == ("encoder", "decoder")
    assert parts_of(DATASETS[0], DATASETS, ("decoder",)) == ("decoder",)


def test_costs_are_remembered(tmp_path: Path) -> None:
    Costs(tmp_path).keep(Step("tiny", "index"), Cost("run-1", 2.0, 1.0))
    assert Costs(tmp_path).known == {"tiny": {"index": Cost("run-1", 2.0, 1.0)}}


def test_remaining_says_what_was_never_measured() -> None:
    assert remaining([60.0, 120.0]) == "2 steps left, at most 3 CPU minutes"
    assert remaining([60.0, None]) == "2 steps left, 1 of them never measured"


def test_beside_cot_pairs_students_of_one_seed() -> None:
    taken = {("cot", 0): 100.0, ("cot", 1): 200.0, ("mechanistic", 0): 150.0, ("mechanistic", 1): 240.0, ("answers", 2): 10.0}
    rows = [{"method": method, "seed": seed, "cpu_ms_a_step": cost} for (method, seed), cost in taken.items()]
    found = beside_cot(rows)
    assert found["mechanistic"] == pytest.approx((195.0, 1.35, 1.2, 1.5))
    assert "answers" not in found


def test_percent_shows_value_and_interval() -> None:
    assert percent({"value": 0.2, **ROW}) == "20.0 [10.0, 30.0]"
    assert percent({"difference": 0.2, **ROW}, "difference") == "+20.0 [10.0, 30.0]"
    assert percent(None) == "-"


def test_benchmark_page_shows_systems_and_leaves_out_what_was_not_measured() -> None:
    value = {"dataset": SAMPLE, "metric": "P", "k": 1, "segment": "all", "value": 0.2, "seed_sd": None, **ROW}
    counts = {"train_documents": 2000, "train_traces": 1990, "test_documents": 500, "labels": 5000}
    nothing = dict.fromkeys(("teacher_tokens_in", "teacher_tokens_out", "teacher_usd", "student_core_hours", "student_usd"))
    part = {
        "counts": {SAMPLE: counts}, "metrics": [{"system": "answers", **value}], "contrasts": [], "costs": {}, "steps": [],
        "tokens": {}, "tagging": None, "million": nothing,
    }  # fmt: skip
    page = benchmark_page({"datasets": {SAMPLE: part}})
    assert "| answers | 20.0 [10.0, 30.0] | - |" in page
    assert "2,000 train documents, 1,990 with a usable trace" in page
    assert "Decoder students" not in page
