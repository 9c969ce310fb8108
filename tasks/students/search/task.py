"""Search settings of encoder students: every method tries the same settings, judged by the teacher's development labels."""

import json
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageOutput, StageResult
from schemas.student_settings import DistillConfig, SearchConfig
from schemas.tables import CORE_TRIALS
from tasks.labels.progress import log_progress
from tasks.labels.threads import one_thread_each
from tasks.students.methods import Plan, plan_students
from tasks.students.search.space import encoder_space, used_settings
from tasks.students.search.trials import Bench, run_trial, split_documents
from tasks.students.task import read_material, read_teacher
from tasks.trials.choice import Choice, TrialResult, Tried, choose_trials, describe_choices, list_trials
from tasks.trials.drawing import Trial, draw_trials, refuse_reported_seeds
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table
from warehouse.published import hash_code
from warehouse.settings_files import SETTINGS_FILE, settings_lines, write_settings
from warehouse.trial_store import TrialStore, open_trials, trial_name

logger = logging.getLogger(__name__)

Lines = list[tuple[str, str]]
CODE = ("tasks.students", "tasks.trials", "tasks.labels", "tasks.sequences", "schemas")
NOT_SHARED = {"methods", "seeds", "has_supervised_reference", "overrides"}


@dataclass(frozen=True)
class Searcher:
    """What every trial of a search needs."""

    bench: Bench
    distill: DistillConfig
    search: SearchConfig
    store: TrialStore

    def attempt(self, one: tuple[Plan, Trial]) -> Tried:
        """One trial of one method: its result as it was stored, or made and stored now."""
        plan, trial = one
        make = partial(run_trial, self.bench, plan, trial, self.distill, self.search.seeds)
        return Tried(plan.system, trial, self.store.take(trial_name(plan.system, trial.setting_json), TrialResult, make))


@task(cache_policy=NO_CACHE)
def search_settings(
    run: RunRef, inputs: StageInputs, distill: DistillConfig, embed: EmbedConfig, search: SearchConfig
) -> StageResult:
    """Traces of train documents -> `core_trials`, and the chosen settings of every method as a settings file.

    A finished trial is kept in the data root: a killed search goes on after it, a longer one begins with it.

    Raises:
        ConfigError: settings would be chosen with a seed that is reported.
        TrainingError: too few usable traces for a method, none in the development part, or a loss that is not finite.
    """
    started = time.monotonic()
    refuse_reported_seeds(search.seeds, distill.seeds, "distill")
    documents = read_table(inputs.tables["core_documents"]).filter(pl.col("split") == "train")
    material = read_material(run, inputs, documents, embed)
    teacher = read_teacher(material, inputs)
    one_each = distill.model_copy(update={"seeds": (search.seed,), "has_supervised_reference": False})
    plans = plan_students(teacher, material.gold, one_each)
    train, dev = split_documents(plans[0], distill.dev_frac, search.seed)
    bench = Bench(material.texts, material.label_ids, material.label_vectors, teacher.answers, train, dev)
    space = encoder_space(distill)
    trials = draw_trials(space, {each.name: getattr(distill, each.name) for each in space}, search.trials, search.seed)
    store = open_trials(run.root_path, run.dataset, made_from(inputs, distill, embed, search))
    tried = attempt_all(Searcher(bench, distill, search, store), plans, trials)
    choices = choose_trials(tried)
    rows = list_trials(tried, choices).with_columns(dataset=pl.lit(run.dataset))
    table = write_table(run, "search", CORE_TRIALS, CORE_TRIALS.conform(rows))
    folder = artifact_path(run.root_path, run.run_id, "search", "chosen_settings")
    write_settings(folder / SETTINGS_FILE, chosen_values(choices), comment(run, choices, distill))
    logger.info(
        "search: %d documents in, %d trained on, %d judged by, %d trials of %d methods, %.1f s",
        len(documents), len(train), len(dev), len(trials), len(plans), time.monotonic() - started,
    )  # fmt: skip
    artifact = artifact_ref(run, "search", "chosen_settings", folder)
    left_out = len(documents) - int(plans[0].is_usable.sum())
    return StageResult(
        tables=(table,), artifacts=(artifact,), cost=StageCost(rows_in_count=len(documents), rejected_count=left_out)
    )


def attempt_all(searcher: Searcher, plans: list[Plan], trials: list[Trial]) -> list[Tried]:
    """Every trial of every method, side by side, in the order of methods and trials."""
    ones = [(plan, trial) for plan in plans for trial in trials]
    progress, tried = log_progress("trials done"), []
    with one_thread_each() as pool:
        for one in pool.map(searcher.attempt, ones):
            tried.append(one)
            progress(len(tried), len(ones))
    return tried


def made_from(inputs: StageInputs, distill: DistillConfig, embed: EmbedConfig, search: SearchConfig) -> list[str]:
    """What the trials of a search share: code, inputs and the settings that are not searched."""
    shared = distill.model_dump(mode="json", exclude={*NOT_SHARED, *(each.name for each in encoder_space(distill))})
    hashes = sorted([*(t.content_hash for t in inputs.tables.values()), *(a.content_hash for a in inputs.artifacts.values())])
    seeds = [list(search.seeds), search.seed]
    return ["search", hash_code(CODE), json.dumps([shared, seeds], sort_keys=True), embed.model_dump_json(), *hashes]


def chosen_values(choices: list[Choice]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """The chosen settings as a settings file has them: those that a method uses."""
    return {"distill": {"overrides": {choice.system: choice.trial.of(used_settings(choice.system)) for choice in choices}}}


def comment(run: RunRef, choices: list[Choice], distill: DistillConfig) -> str:
    """What stands above the chosen settings."""
    names = {choice.system: used_settings(choice.system) for choice in choices}
    return (
        f"Chosen by `ctd search {run.dataset}`, run {run.run_id}, out of {choices[0].trial_count} settings, the same for every "
        f"method,\neach {distill.shortlister_steps} and {distill.refiner_steps} steps. The objective is the mean of P@1 and R@10 "
        "against the teacher's labels of the development documents.\n"
        f"{describe_choices(choices, names)}"
    )


def list_choices(output: StageOutput) -> Lines:
    """The chosen settings of a search and where they stand, for people to read."""
    folder = Path(output.artifacts[0].path)
    return [("settings", str(folder / SETTINGS_FILE)), *(("", line) for line in settings_lines(folder))]
