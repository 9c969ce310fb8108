"""Train decoder students: the traces of a teacher, and what its heads do, to small decoders that write traces themselves."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import polars as pl
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, HeadsConfig
from schemas.decoders import DecoderStudentDescription, MatchedHead, TeacherReference
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.selections import whole_traces
from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from schemas.tables import CORE_HEAD_MATCHES, CORE_TRAIN_STEPS
from tasks.decoder_students.cached_signals import (
    Arrays,
    TeacherBatch,
    hash_sequences,
    interaction_scale,
    read_batch,
    teacher_signals,
    teacher_slices,
)
from tasks.decoder_students.card import write_card
from tasks.decoder_students.imitation import P1, P2, Lecturer, Tutor, Watched
from tasks.decoder_students.learner import Learner, folder_learner, parameter_counts, small_learner
from tasks.decoder_students.machine import device_of, peak_memory, prepare_accelerate
from tasks.decoder_students.matching import Slot, choose_teacher_heads, draw_teacher_heads, read_profiles
from tasks.decoder_students.material import Lessons, Reader, Split, split_documents
from tasks.decoder_students.methods import DISTRIBUTION, Teaching, student_name, system_of, teaching_of
from tasks.decoder_students.requests import check_heads, check_request, check_tokenizers
from tasks.decoder_students.signals import PhaseHeads
from tasks.decoder_students.training import Guide, State, TokensAlone, Training
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder, refer_to_index
from tasks.labels.threads import one_thread_each
from tasks.labels.time_budget import TimeBudget
from tasks.open_models.factorised import Sizes, build_decoder, place_vectors
from tasks.open_models.models import ModelRef, check_folder
from tasks.open_models.task import Room, open_room
from tasks.sequences.compact import MARKS
from tasks.sequences.tokens import TokenSequence
from tasks.sequences.traces import TraceTables
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
from warehouse.embedding_store import model_digest
from warehouse.parquet import artifact_ref, read_table, write_table
from warehouse.published import hash_code
from warehouse.signal_store import open_signals

logger = logging.getLogger(__name__)

UNSHAPING = {"methods", "seeds", "overrides", "checkpoint_steps", "device", "read_out"}
"""Settings that do not shape a student of one method and seed."""

SEQUENCE_SETTINGS = {"prompt_text", "max_tokens", "precision"}
"""Settings of the teacher that shape what students read."""

SIGNAL_BATCH = 16
_DRAWING = Lock()
"""Weights are drawn by torch's one generator, so one student at a time."""


@dataclass(frozen=True)
class Plan:
    """A student to be trained."""

    method: DecoderMethod
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return student_name(self.method, self.seed)

    @property
    def teaching(self) -> Teaching:
        """What its method is made of."""
        return teaching_of(self.method)


@dataclass(frozen=True)
class Classroom:
    """What all students of a stage share."""

    room: Room
    model: ModelRef
    settings: DecoderStudentsConfig
    split: Split
    reader: Reader
    train: tuple[TokenSequence, ...]
    dev: tuple[TokenSequence, ...]
    scores: pl.DataFrame
    """Rows of `core_head_scores` of the teacher."""

    @property
    def run(self) -> RunRef:
        """The run."""
        return self.room.run

    def lessons(self, has_trace: bool) -> Lessons:
        """What a student is taught."""
        every = [len(self.reader.trace(one).token_ids) for one in self.train]
        train, dev = (self.reader.lessons(some, has_trace) for some in (self.train, self.dev))
        return Lessons(train, dev, every, self.room.loaded.pad_id)

    def slots(self, teaching: Teaching, seed: int) -> tuple[Slot, ...]:
        """The teacher's heads that a student imitates."""
        counts = self.settings.phase1_heads, self.settings.phase2_heads
        chosen = choose_teacher_heads(self.scores, *counts)
        if not teaching.is_random:
            return chosen
        parts = self.room.loaded.parts
        return draw_teacher_heads(parts.layer_count, parts.head_count, *counts, seed, {(one.layer, one.head) for one in chosen})


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


def hash_sources(run: RunRef, model: ModelRef) -> str:
    """What the stage is made from besides its inputs: the teacher, and the folder that students start from, by content.

    Raises:
        ConfigError: there is no such folder.
    """
    named = run.config.decoder_students.student
    if named is None:
        return model.content_hash
    return f"{model.content_hash} {model_digest(student_folder(named))}"


def student_folder(named: str) -> Path:
    """The folder that students start from.

    Raises:
        ConfigError: it holds no decoder.
    """
    folder = Path(named).expanduser()
    check_folder(folder, "decoder_students.student")
    return folder


def match_rows(dataset: str, described: Sequence[DecoderStudentDescription]) -> pl.DataFrame:
    """Rows of `core_head_matches`."""
    rows = [
        {"dataset": dataset, "system": one.system, "seed": one.seed, **match.model_dump()}
        for one in described
        for match in one.matched_heads
    ]
    return pl.DataFrame(rows) if rows else CORE_HEAD_MATCHES.empty()


def open_classroom(
    run: RunRef, inputs: StageInputs, model: ModelRef, students: DecoderStudentsConfig, heads: HeadsConfig, embed: EmbedConfig
) -> Classroom:
    """Check what is asked for, load the teacher, and read documents and traces as it does.

    Raises:
        ConfigError: the settings do not fit the teacher or the student's folder.
        MissingTableError: heads are to be imitated, but those of this model were not scored.
        ModelRefusedError: the student's tokenizer is not the teacher's.
        TrainingError: there are too few documents.
    """
    scores = read_table(inputs.tables["core_head_scores"]).filter(pl.col("model") == model.name)
    check_request(students, model, scores, run.dataset)
    if students.student is not None:
        check_tokenizers(student_folder(students.student), Path(model.path), students)
    room = open_room(run, inputs, model, heads, embed)
    check_heads(students, scores, room.loaded.parts)
    most = students.train_steps * students.batch_size
    split = split_documents(usable_documents(room.texts.traces), room.dev_document_ids or (), students.dev_frac, most)
    train, dev = room.read(split.train), room.read(split.dev)
    logger.info("distill-decoder: not located: %s, %d places cut off", train.unlocated, train.cut_count)
    return Classroom(room, model, students, split, open_reader(room), train.sequences, dev.sequences, scores)


def usable_documents(tables: TraceTables) -> set[str]:
    """Train documents with a whole trace that names a candidate and an answer that link."""
    traces = whole_traces(tables.traces).filter(pl.col("split") == "train")
    for part in (tables.shortlist, tables.answers):
        traces = traces.join(part.filter(pl.col("label_id").is_not_null()), on="trace_id", how="semi")
    return set(traces["document_id"])


def open_reader(room: Room) -> Reader:
    """How the teacher's sequences become lessons."""
    tokenizer = room.loaded.tokenizer
    unknown, end = tokenizer.unk_token_id, tokenizer.eos_token_id
    marks = dict(tokenizer.get_vocab()) if room.form is not None else None
    return Reader(marks, -1 if unknown is None else int(unknown), None if end is None else int(end), room.loaded.max_tokens)


def make_students(classroom: Classroom, plans: Sequence[Plan]) -> int:
    """Make the students that do not stand in the folder yet; how many were trained.

    Small ones are trained side by side, a thread each; those of a folder one after the other.
    """
    run, folder = classroom.run, students_dir(classroom.run.root_path, classroom.run.run_id)
    keep_students(folder, {plan.name for plan in plans})
    prints = {plan: fingerprint(classroom, plan) for plan in plans}
    root, run_id = run.root_path, run.run_id
    whole = {plan for plan in plans if is_made_from(folder / plan.name, prints[plan])}
    missing = [plan for plan in plans if plan not in whole and not take_over(root, run_id, plan.name, prints[plan])]
    if not missing:
        return 0
    lecturer = open_lecturer(classroom, missing)
    start = open_start(classroom)
    prepare_accelerate(classroom.settings)
    progress = log_progress("decoder students trained")
    is_side_by_side = classroom.settings.student is None and device_of(classroom.settings).type == "cpu"
    with one_thread_each(is_side_by_side) as pool:
        make = partial(
            make_student, classroom, start, lecturer, prints, time.thread_time if is_side_by_side else time.process_time
        )
        for done, _ in enumerate(pool.map(make, missing), 1):
            progress(done, len(missing))
    return len(missing)


def fingerprint(classroom: Classroom, plan: Plan) -> str:
    """What one student is made from, as a hash: settings of its method that shape it, teacher, inputs and code."""
    inputs, settings = classroom.room.inputs, classroom.settings.of(plan.method)
    left = set() if plan.teaching.imitates_heads else {"core_head_scores"}
    hashes = sorted(ref.content_hash for name, ref in inputs.tables.items() if name not in left)
    parts = [
        plan.name,
        hash_code(("tasks.decoder_students", "tasks.open_models", "tasks.sequences", "schemas")),
        settings.model_dump_json(exclude=UNSHAPING),
        hash_sources(classroom.run, classroom.model),
        json.dumps(classroom.room.settings.model_dump(mode="json", include=SEQUENCE_SETTINGS), sort_keys=True),
        classroom.room.embed.model_dump_json(),
        *hashes,
        *sorted(ref.content_hash for ref in inputs.artifacts.values()),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


Start = Callable[[int], Learner]
"""Seed -> a student before its training, on its device."""


def open_start(classroom: Classroom) -> Start:
    """How students begin: small ones with vectors of the embedder, or as a folder's model."""
    settings = classroom.settings
    device = device_of(settings)
    if settings.student is not None:
        return partial(start_folder, student_folder(settings.student), settings, device)
    vectors, config = vocabulary_vectors(classroom.room), classroom.room.loaded.model.config
    sizes = Sizes(settings.layers, settings.d_model, settings.heads, settings.kv_heads)
    tokenizer = classroom.room.loaded.tokenizer
    end = int(tokenizer.eos_token_id)

    def start(seed: int) -> Learner:
        with _DRAWING:
            made = build_decoder(sizes, vectors, int(config.max_position_embeddings), classroom.room.loaded.pad_id, end, seed)
        return small_learner(made.to(device))

    return start


def start_folder(folder: Path, settings: DecoderStudentsConfig, device: torch.device, seed: int) -> Learner:
    """A student with a folder's weights, in float32: mixed precision keeps its weights whole."""
    from transformers import AutoModelForCausalLM

    with _DRAWING:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        return folder_learner(model.to(device), settings.lora_rank, seed)  # type: ignore[arg-type]


def vocabulary_vectors(room: Room) -> torch.Tensor:
    """Embedder vectors of the teacher's vocabulary: of labels from the index, of words; zero for marks."""
    tokenizer = room.loaded.tokenizer
    known = tokenizer.get_vocab()
    labels = {} if room.form is None else {token: label for label, token in room.form.tokens.items()}
    of_labels = [(known[token], label) for token, label in labels.items() if token in known]
    special = {*MARKS, *tokenizer.all_special_tokens}
    words = sorted(token for token in known if token not in labels and token not in special)
    embedder = open_embedder(room.run, room.embed, room.embed.label_tokens)
    vectors = embedder.embed(words, log_progress("words embedded"))
    label_vectors = room.index.vectors_of([label for _, label in of_labels])
    return place_vectors(
        len(known), [([place for place, _ in of_labels], label_vectors), ([known[one] for one in words], vectors)]
    )


def open_lecturer(classroom: Classroom, plans: Sequence[Plan]) -> Lecturer | None:
    """What the teacher does on the documents that are trained on, made once for all students; None if none asks for it."""
    asked = [plan for plan in plans if plan.teaching.terms]
    if not asked:
        return None
    slots = {slot for plan in asked if plan.teaching.imitates_heads for slot in classroom.slots(plan.teaching, plan.seed)}
    by_phase = [tuple(sorted((one.layer, one.head) for one in slots if one.matched_phase == phase)) for phase in (P1, P2)]
    kept = PhaseHeads(*by_phase)
    has_tokens = any(DISTRIBUTION in plan.teaching.terms for plan in asked)
    top = classroom.settings.kd_top if has_tokens else 0
    loaded, train = classroom.room.loaded, classroom.train
    made_from = [
        hash_code(("tasks.decoder_students", "tasks.open_models", "tasks.sequences")),
        classroom.model.content_hash, hash_sequences(train), repr(kept), str(top), classroom.room.settings.precision,
    ]  # fmt: skip
    store = open_signals(classroom.run.root_path, classroom.run.dataset, made_from, len(train))
    progress = log_progress("documents that the teacher read")

    def make(places: range) -> Sequence[Arrays]:
        progress(places.start, len(train))
        return teacher_signals(loaded.parts, [train[place] for place in places], kept, loaded.pad_id, SIGNAL_BATCH, top)

    store.fill(make)
    slices = store.take_shared(lambda: teacher_slices(loaded.parts, kept))
    phases = ("early", "refine")
    names = {f"{phase}_{what}" for phase in phases for what in ("is_row", "is_key", "reading", "outputs", "mass", "effect")}

    def read(places: Sequence[int], heads: PhaseHeads, has_tokens: bool) -> TeacherBatch:
        return read_batch(list(store.read(places, None if has_tokens else names)), slices, kept, heads)

    narrow = {f"{phase}_{what}" for phase in phases for what in ("is_row", "mass", "effect")}
    found = interaction_scale(store.read(range(len(train)), narrow))
    ordered = zip((P1, P2), by_phase, found, strict=True)
    scales = {phase: dict(zip(some, map(float, scale), strict=True)) for phase, some, scale in ordered}
    profiles = read_profiles(classroom.scores) if slots else torch.zeros(1, 1, 6).numpy()
    return Lecturer(train, read, scales, profiles, loaded.parts.d_model)


def make_student(
    classroom: Classroom, start: Start, lecturer: Lecturer | None, prints: dict[Plan, str], clock: Callable[[], float], plan: Plan
) -> None:
    """Train one student, from its furthest checkpoint if there is one, and write its folder."""
    run = classroom.run
    kept = find_checkpoint(run.root_path, run.run_id, prints[plan], STAGE, f"checkpoint-{plan.name}")
    steps = kept["train_steps"] if kept is not None else affordable_steps(classroom, start, lecturer, clock, plan)
    training = prepare_training(classroom, start(plan.seed), lecturer, plan, steps)
    if kept is not None:
        training.take_up(kept)
        logger.info("distill-decoder: %s goes on from step %d", plan.name, training.progress.step)

    def keep(state: State) -> None:
        save_checkpoint(run.root_path, run.run_id, prints[plan], state, STAGE, f"checkpoint-{plan.name}")

    training.run(keep, clock)
    write_student(classroom, training, plan, prints[plan])
    drop_checkpoint(run.root_path, run.run_id, STAGE, f"checkpoint-{plan.name}")


def affordable_steps(
    classroom: Classroom, start: Start, lecturer: Lecturer | None, clock: Callable[[], float], plan: Plan
) -> int:
    """Steps of a student: those that are set, or those that fit in `max_cpu_s`, its matching of heads included.

    Raises:
        TrainingError: not one step fits.
    """
    settings = classroom.settings
    if settings.max_cpu_s is None:
        return settings.train_steps
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
    description = describe(classroom, training, plan, made_from, (*parameter_counts(model), trained_count))

    def write_model(folder: Path) -> None:
        model.save_pretrained(folder)
        classroom.room.loaded.tokenizer.save_pretrained(folder)

    rows = pl.DataFrame([asdict(loss) for loss in training.progress.losses])
    rows = rows.with_columns(system=pl.lit(system_of(plan.method)), component=pl.lit("decoder-student"), seed=pl.lit(plan.seed))
    folder = students_dir(classroom.run.root_path, classroom.run.run_id) / plan.name
    save_decoder_student(folder, write_model, description, write_card(description, plan.name), rows)
    logger.info(
        "distill-decoder: %s, %d steps, development loss %.3f, %.0f CPU s, %.0f tokens a CPU second, at most %.0f MB",
        plan.name, description.step_count, description.dev_losses.get("total_loss", float("nan")), description.train_cpu_s,
        description.tokens_per_cpu_s, description.peak_memory_bytes / 1e6,
    )  # fmt: skip


def describe(
    classroom: Classroom, training: Training, plan: Plan, made_from: str, counts: tuple[int, int, int]
) -> DecoderStudentDescription:
    """What `student.json` says."""
    room, reached, split = classroom.room, training.progress, classroom.split
    settings = training.settings
    best = reached.best_step if settings.patience is not None else None
    at = (best or reached.step) - 1
    dev = {loss.loss_name.removeprefix("dev_"): loss.loss_nats for loss in reached.losses
           if loss.train_step == at and loss.loss_name.startswith("dev_")}  # fmt: skip
    matches = training.guide.imitated() if isinstance(training.guide, Tutor) else ()
    return DecoderStudentDescription(
        system=system_of(plan.method),
        method=plan.method,
        seed=plan.seed,
        dataset=room.run.dataset,
        run_id=room.run.run_id,
        fingerprint=made_from,
        settings=settings,
        teacher=refer_to_teacher(classroom),
        embedder=room.embed.model,
        label_index=refer_to_index(room.run, room.inputs.artifacts["label_index"], room.embed),
        labels_hash=room.inputs.tables["core_labels"].content_hash,
        parameter_count=counts[0],
        body_parameter_count=counts[1],
        trained_count=counts[2],
        document_count=len(split.train),
        left_out_count=split.left_out_count,
        dev_document_ids=tuple(sorted(split.dev)),
        dev_losses=dev,
        step_count=reached.step,
        best_step=best,
        train_cpu_s=reached.cpu_s,
        tokens_per_cpu_s=reached.token_count / max(reached.cpu_s, 1e-9),
        peak_memory_bytes=peak_memory(training.learner.device),
        matched_heads=tuple(MatchedHead(**asdict(match)) for match in matches),
    )


def refer_to_teacher(classroom: Classroom) -> TeacherReference:
    """The teacher, and how documents are written for it."""
    room, form = classroom.room, classroom.room.form
    return TeacherReference(
        name=classroom.model.name,
        content_hash=classroom.model.content_hash,
        is_compact=classroom.model.is_compact,
        document_words=form.document_words if form else None,
        evidence_words=form.evidence_words if form else None,
        prompt_text=None if form else room.settings.prompt_text,
        max_tokens=room.loaded.max_tokens,
    )
