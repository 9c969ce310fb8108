"""Search settings of decoder students: every method tries the same settings, judged by the teacher's development labels."""

import json
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, HeadsConfig
from schemas.errors import ConfigError, TrainingError
from schemas.refs import RunRef, StageCost, StageInputs, StageOutput, StageResult
from schemas.student_settings import DecoderMethod, DecoderStudentsConfig, SearchConfig
from schemas.tables import CORE_TRIALS
from tasks.decoder_students.classroom.task import (
    SEQUENCE_SETTINGS,
    Classroom,
    Start,
    hash_sources,
    open_classroom,
    open_lecturer,
    open_start,
)
from tasks.decoder_students.lecturer import Lecturer
from tasks.decoder_students.machine import device_of
from tasks.decoder_students.methods import Plan, system_of
from tasks.decoder_students.search.judging import Exam, judge, make_exam
from tasks.decoder_students.search.space import decoder_space, used_settings
from tasks.decoder_students.task import UNSHAPING, affordable_steps, prepare_training
from tasks.labels.progress import log_progress
from tasks.labels.threads import one_thread_each
from tasks.open_models.models import ModelRef
from tasks.open_models.read_out import make_speaker
from tasks.trials.choice import Choice, TrialResult, Tried, choose_trials, describe_choices, list_trials, mean_result
from tasks.trials.drawing import Trial, draw_trials, refuse_reported_seeds
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table
from warehouse.published import hash_code
from warehouse.settings_files import SETTINGS_FILE, settings_lines, write_settings
from warehouse.trial_store import TrialStore, open_trials, trial_name

logger = logging.getLogger(__name__)

Lines = list[tuple[str, str]]
STAGE = "search-decoder"
CODE = ("tasks.decoder_students", "tasks.open_models", "tasks.sequences", "tasks.trials", "schemas")


@dataclass(frozen=True)
class Searcher:
    """What every trial of a search needs."""

    classroom: Classroom
    exam: Exam
    lecturer: Lecturer | None
    start: Start
    seeds: tuple[int, ...]
    store: TrialStore

    def attempt(self, one: tuple[DecoderMethod, Trial]) -> Tried:
        """One trial of one method: its result as it was stored, or made and stored now."""
        method, trial = one
        name = trial_name(system_of(method), trial.setting_json)
        return Tried(method, trial, self.store.take(name, TrialResult, partial(self.run, method, trial)))

    def run(self, method: DecoderMethod, trial: Trial) -> TrialResult:
        """Train with these settings and every seed, and judge."""
        settings = self.classroom.settings.model_copy(update={**dict(trial.values), "overrides": {}})
        classroom = replace(self.classroom, settings=settings)
        return mean_result([self.judged(classroom, Plan(method, seed)) for seed in self.seeds], len(self.exam.prompts))

    def judged(self, classroom: Classroom, plan: Plan) -> dict[str, float]:
        """How well one student does that is trained for this alone."""
        steps = affordable_steps(classroom, self.start, self.lecturer, plan)
        training = prepare_training(classroom, self.start(plan.seed), self.lecturer, plan, steps)
        training.run(clock=classroom.clock)
        model = training.learner.finish().train(False).to(device_of(classroom.settings))
        room = classroom.room
        tokens, words = (room.form.tokens, room.form.evidence_words) if room.form else ({}, 0)
        return judge(make_speaker(model, room.loaded.tokenizer, tokens, plan.teaching.has_trace, words), self.exam)


@task(cache_policy=NO_CACHE)
def search_decoder_settings(
    run: RunRef,
    inputs: StageInputs,
    model: ModelRef,
    students: DecoderStudentsConfig,
    heads: HeadsConfig,
    embed: EmbedConfig,
    search: SearchConfig,
) -> StageResult:
    """Traces of train documents and the teacher's heads -> `core_trials`, and the chosen settings as a settings file.

    A finished trial is kept in the data root: a killed search goes on after it, a longer one begins with it.

    Raises:
        ConfigError: settings would be chosen with a seed that is reported, or the model does not write compact traces.
        MissingTableError: heads are to be imitated, but those of this model were not scored.
        TrainingError: too few documents, or a loss that is not finite.
    """
    started = time.monotonic()
    refuse_reported_seeds(search.seeds, students.seeds, "decoder_students")
    classroom = open_classroom(run, inputs, model, students, heads, embed)
    exam = read_exam(classroom)
    space = decoder_space(students)
    trials = draw_trials(space, {each.name: getattr(students, each.name) for each in space}, search.trials, search.seed)
    tried = attempt_all(classroom, exam, trials, search)
    choices = choose_trials(tried)
    rows = list_trials(tried, choices).with_columns(dataset=pl.lit(run.dataset), system=pl.format("decoder-{}", "system"))
    table = write_table(run, STAGE, CORE_TRIALS, CORE_TRIALS.conform(rows))
    folder = artifact_path(run.root_path, run.run_id, STAGE, "chosen_decoder_settings")
    write_settings(folder / SETTINGS_FILE, chosen_values(choices, students), comment(run, choices, students))
    split = classroom.split
    logger.info(
        "search-decoder: %d train documents, %d judged by, %d trials of %d methods, %.1f s",
        len(split.train), len(exam.prompts), len(trials), len(students.methods), time.monotonic() - started,
    )  # fmt: skip
    return StageResult(
        tables=(table,),
        artifacts=(artifact_ref(run, STAGE, "chosen_decoder_settings", folder),),
        cost=StageCost(rows_in_count=len(split.train) + len(split.dev), rejected_count=split.left_out_count),
    )


def read_exam(classroom: Classroom) -> Exam:
    """The development documents that trials are judged by.

    Raises:
        ConfigError: the model does not write compact traces, so that what a student writes cannot be read.
        TrainingError: no development document has an answer of the teacher.
    """
    room = classroom.room
    if room.form is None:
        raise ConfigError(
            f"heads.model = {room.settings.model!r}: settings are searched for students of the decoder trained here"
        )
    answers = room.texts.traces.answers.filter(pl.col("label_id").is_not_null())
    barred = read_table(room.inputs.tables["core_relevance"]).filter("is_filtered")
    by_document = [dict(part.group_by("document_id").agg("label_id").iter_rows()) for part in (answers, barred)]
    prompts = {one.document_id: one.token_ids[: one.response_start].tolist() for one in classroom.dev}
    longest = max((len(one.token_ids) - one.response_start for one in classroom.dev), default=0)
    exam = make_exam(prompts, by_document[0], by_document[1], longest)
    if not exam.prompts:
        raise TrainingError("no development document has an answer of the teacher: raise decoder_students.dev_frac")
    return exam


def attempt_all(classroom: Classroom, exam: Exam, trials: list[Trial], search: SearchConfig) -> list[Tried]:
    """Every trial of every method, small students side by side, in the order of methods and trials."""
    run, settings = classroom.run, classroom.settings
    plans = [Plan(method, seed) for method in settings.methods for seed in search.seeds]
    store = open_trials(run.root_path, run.dataset, made_from(classroom, search))
    searcher = Searcher(classroom, exam, open_lecturer(classroom, plans), open_start(classroom), search.seeds, store)
    ones = [(method, trial) for method in settings.methods for trial in trials]
    progress, tried = log_progress("trials done"), list[Tried]()
    with one_thread_each(classroom.is_side_by_side) as pool:
        for one in pool.map(searcher.attempt, ones):
            tried.append(one)
            progress(len(tried), len(ones))
    return tried


def made_from(classroom: Classroom, search: SearchConfig) -> list[str]:
    """What the trials of a search share: code, teacher, inputs and the settings that are not searched."""
    inputs, room, space = classroom.room.inputs, classroom.room, decoder_space(classroom.settings)
    shared = classroom.settings.model_dump(mode="json", exclude={*UNSHAPING, *(each.name for each in space)})
    reading = room.settings.model_dump(mode="json", include=SEQUENCE_SETTINGS)
    hashes = sorted([*(t.content_hash for t in inputs.tables.values()), *(a.content_hash for a in inputs.artifacts.values())])
    parts = json.dumps([shared, reading, list(search.seeds)], sort_keys=True)
    source = hash_sources(classroom.run, classroom.model)
    return [STAGE, hash_code(CODE), parts, source, room.embed.model_dump_json(), *hashes]


def used_by(choice: Choice, students: DecoderStudentsConfig) -> tuple[str, ...]:
    """The searched settings that the method of a choice uses."""
    return next(used_settings(method) for method in students.methods if method == choice.system)


def chosen_values(choices: list[Choice], students: DecoderStudentsConfig) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """The chosen settings as a settings file has them: those that a method uses."""
    overrides = {choice.system: choice.trial.of(used_by(choice, students)) for choice in choices}
    return {"decoder_students": {"overrides": overrides}}


def comment(run: RunRef, choices: list[Choice], students: DecoderStudentsConfig) -> str:
    """What stands above the chosen settings."""
    names = {choice.system: used_by(choice, students) for choice in choices}
    return (
        f"Chosen by `ctd search-decoder {run.dataset}`, run {run.run_id}, out of {choices[0].trial_count} settings, the same for "
        f"every method,\neach {students.train_steps} steps. The objective is R@10 of the distribution after the student's own "
        f"trace against the teacher's labels of development documents.\n{describe_choices(choices, names)}"
    )


def list_choices(output: StageOutput) -> Lines:
    """The chosen settings of a search and where they stand, for people to read."""
    folder = Path(output.artifacts[0].path)
    return [("settings", str(folder / SETTINGS_FILE)), *(("", line) for line in settings_lines(folder))]
