"""Train decoder students: the traces of a teacher, and what its heads do, to small decoders that write traces themselves."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, HeadsConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.student_settings import DecoderStudentsConfig
from schemas.tables import CORE_HEAD_MATCHES, CORE_TRAIN_STEPS
from tasks.decoder_students.card import write_card
from tasks.decoder_students.classroom.task import (
    SEQUENCE_SETTINGS,
    Classroom,
    Start,
    hash_sources,
    open_classroom,
    open_lecturer,
    open_start,
    origin_of,
)
from tasks.decoder_students.description import describe, match_rows
from tasks.decoder_students.guides import Guide, TokensAlone
from tasks.decoder_students.imitation import Tutor, Watched
from tasks.decoder_students.learner import Learner, parameter_counts
from tasks.decoder_students.lecturer import Lecturer
from tasks.decoder_students.methods import Plan, system_of
from tasks.decoder_students.training import State, Training
from tasks.labels.progress import log_progress
from tasks.labels.threads import one_thread_each
from tasks.labels.time_budget import TimeBudget
from tasks.open_models.models import ModelRef
from warehouse.decoder_store import drop_checkpoint, find_checkpoint, save_checkpoint
from warehouse.decoder_students_store import (
    STAGE,
    is_made_from,
    keep_students,
    load_student_description,
    load_student_losses,
    save_decoder_student,
    students_dir,
    take_over,
)
from warehouse.parquet import artifact_ref, write_table
from warehouse.published import hash_code

logger = logging.getLogger(__name__)

UNSHAPING = {"methods", "seeds", "overrides", "checkpoint_steps", "device"}
"""Settings that do not shape a student of one method and seed."""


@task(cache_policy=NO_CACHE)
def distill_decoder_students(
    run: RunRef, inputs: StageInputs, model: ModelRef, students: DecoderStudentsConfig, heads: HeadsConfig, embed: EmbedConfig
) -> StageResult:
    """Traces of train documents and the teacher's heads -> the `decoder_students` artifact and two tables.

    A student's folder appears whole; one that was made from the same in any run is taken, a killed one goes on.

    Raises:
        ConfigError: the settings do not fit the teacher or the student's folder.
        MissingTableError: heads are to be imitated, but those of this model were not scored.
        ModelRefusedError: the student's tokenizer is not the teacher's, or heads cannot be watched.
        TrainingError: too few documents, or a loss that is not finite.
    """
    started = time.monotonic()
    plans = [Plan(method, seed) for method in students.methods for seed in students.seeds]
    classroom = open_classroom(run, inputs, model, students, heads, embed)
    folder = students_dir(run.root_path, run.run_id)
    missing = make_students(classroom, plans)
    described = [load_student_description(folder / plan.name) for plan in plans]
    losses = pl.concat(load_student_losses(folder / plan.name) for plan in plans).with_columns(dataset=pl.lit(run.dataset))
    tables = (
        write_table(run, STAGE, CORE_TRAIN_STEPS, CORE_TRAIN_STEPS.conform(losses)),
        write_table(run, STAGE, CORE_HEAD_MATCHES, CORE_HEAD_MATCHES.conform(match_rows(run.dataset, described))),
    )
    split = classroom.split
    logger.info(
        "distill-decoder: %d train documents, %d for development, %d not used, %d students out, %d of them were there, %.1f s",
        len(split.train), len(split.dev), split.left_out_count, len(plans), len(plans) - missing, time.monotonic() - started,
    )  # fmt: skip
    return StageResult(
        tables=tables,
        artifacts=(artifact_ref(run, STAGE, "decoder_students", folder),),
        cost=StageCost(rows_in_count=len(split.train) + len(split.dev), rejected_count=split.left_out_count),
    )


def make_students(classroom: Classroom, plans: Sequence[Plan]) -> int:
    """Make the students that do not stand in the folder yet; how many were trained.

    Small ones are trained side by side, a thread each; those of a folder one after the other.
    """
    run, folder = classroom.run, students_dir(classroom.run.root_path, classroom.run.run_id)
    keep_students(folder, {plan.name for plan in plans})
    prints = fingerprints(classroom, plans)
    root, run_id = run.root_path, run.run_id
    whole = {plan for plan in plans if is_made_from(folder / plan.name, prints[plan])}
    missing = [plan for plan in plans if plan not in whole and not take_over(root, run_id, plan.name, prints[plan])]
    if not missing:
        return 0
    lecturer = open_lecturer(classroom, missing)
    start = open_start(classroom)
    progress = log_progress("decoder students trained")
    with one_thread_each(classroom.is_side_by_side) as pool:
        make = partial(make_student, classroom, start, lecturer, prints)
        for done, _ in enumerate(pool.map(make, missing), 1):
            progress(done, len(missing))
    return len(missing)


def fingerprints(classroom: Classroom, plans: Sequence[Plan]) -> dict[Plan, str]:
    """What each student is made from, as a hash: settings of its method that shape it, teacher, inputs and code.

    Code and folders are read once for all of them.
    """
    code = hash_code(("tasks.decoder_students", "tasks.open_models", "tasks.sequences", "schemas"))
    sources = hash_sources(classroom.run, classroom.model)
    return {plan: fingerprint(classroom, plan, code, sources) for plan in plans}


def fingerprint(classroom: Classroom, plan: Plan, code: str, sources: str) -> str:
    """What one student is made from, as a hash."""
    inputs, settings = classroom.room.inputs, classroom.settings.of(plan.method)
    left = set() if plan.teaching.imitates_heads else {"core_head_scores"}
    hashes = sorted(ref.content_hash for name, ref in inputs.tables.items() if name not in left)
    parts = [
        plan.name,
        code,
        settings.model_dump_json(exclude=UNSHAPING),
        sources,
        json.dumps(classroom.room.settings.model_dump(mode="json", include=SEQUENCE_SETTINGS), sort_keys=True),
        classroom.room.embed.model_dump_json(),
        *hashes,
        *sorted(ref.content_hash for ref in inputs.artifacts.values()),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_student(classroom: Classroom, start: Start, lecturer: Lecturer | None, prints: Mapping[Plan, str], plan: Plan) -> None:
    """Train one student, from its furthest checkpoint if there is one, and write its folder."""
    run = classroom.run
    kept = find_checkpoint(run.root_path, run.run_id, prints[plan], STAGE, f"checkpoint-{plan.name}")
    steps = kept["train_steps"] if kept is not None else affordable_steps(classroom, start, lecturer, plan)
    training = prepare_training(classroom, start(plan.seed), lecturer, plan, steps)
    if kept is not None:
        training.take_up(kept)
        logger.info("distill-decoder: %s goes on from step %d", plan.name, training.progress.step)

    def keep(state: State) -> None:
        save_checkpoint(run.root_path, run.run_id, prints[plan], state, STAGE, f"checkpoint-{plan.name}")

    training.run(keep, classroom.clock)
    write_student(classroom, training, plan, prints[plan])
    drop_checkpoint(run.root_path, run.run_id, STAGE, f"checkpoint-{plan.name}")


def affordable_steps(classroom: Classroom, start: Start, lecturer: Lecturer | None, plan: Plan) -> int:
    """Steps of a student: those that are set, or those that fit in `max_cpu_s`, its matching of heads included.

    Raises:
        TrainingError: not one step fits.
    """
    settings = classroom.settings
    if settings.max_cpu_s is None:
        return settings.train_steps
    clock = classroom.clock
    budget = TimeBudget(settings.max_cpu_s, "decoder_students.max_cpu_s", clock)
    return budget.steps(lambda count: prepare_training(classroom, start(plan.seed), lecturer, plan, count).run(clock=clock))


def prepare_training(classroom: Classroom, learner: Learner, lecturer: Lecturer | None, plan: Plan, steps: int) -> Training:
    """A student's training of so many steps, before its first one."""
    settings, teaching = classroom.settings.of(plan.method).model_copy(update={"train_steps": steps}), plan.teaching
    guide: Guide = TokensAlone()
    if teaching.weights(settings) and lecturer is not None:
        watched = Watched(classroom.dev[: settings.match_documents], classroom.room.loaded.pad_id)
        slots = classroom.slots(teaching, plan.seed) if teaching.imitates_heads else ()
        guide = Tutor(teaching, settings, lecturer, watched, slots, learner, plan.seed)
    return Training(learner, classroom.lessons(teaching.has_trace), guide, settings, plan.seed, plan.name)


def write_student(classroom: Classroom, training: Training, plan: Plan, made_from: str) -> None:
    """Write the folder of a trained student."""
    trained_count = sum(weight.numel() for weight in training.own)
    model = training.learner.finish()
    description = describe(origin_of(classroom), training, plan, made_from, (*parameter_counts(model), trained_count))

    def write_model(folder: Path) -> None:
        model.save_pretrained(folder)
        classroom.room.loaded.tokenizer.save_pretrained(folder)

    rows = pl.DataFrame([asdict(loss) for loss in training.progress.losses])
    rows = rows.with_columns(system=pl.lit(system_of(plan.method)), component=pl.lit("decoder-student"), seed=pl.lit(plan.seed))
    card = write_card(description, plan.name, training.lessons.empty_count)
    folder = students_dir(classroom.run.root_path, classroom.run.run_id) / plan.name
    save_decoder_student(folder, write_model, description, card, rows)
    logger.info(
        "distill-decoder: %s, %d steps, development loss %.3f, %.0f CPU s, %.0f tokens a CPU second, at most %.0f MB",
        plan.name, description.step_count, description.dev_losses.get("total_loss", float("nan")), description.train_cpu_s,
        description.tokens_per_cpu_s, description.peak_memory_bytes / 1e6,
    )  # fmt: skip
