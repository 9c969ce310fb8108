"""How decoder students reason: what they write of test documents, and what that is worth."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import polars as pl
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE
from safetensors import SafetensorError

from schemas.config import EmbedConfig, HeadsConfig
from schemas.decoders import DecoderStudentDescription
from schemas.errors import ConfigError, EmptyTargetError, StorageError
from schemas.fields import DECODER_STUDENT
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.student_settings import FidelityConfig
from schemas.tables import TABLES
from tasks.fidelity.results import Found, Scope, result_rows
from tasks.fidelity.simulators import Kernel, document_kernel, draw_folds
from tasks.fidelity.student_rows import WritingTask, draw_and_rank, simulate_student, write_and_rank
from tasks.fidelity.token_losses import document_losses
from tasks.fidelity.trajectories import student_track
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder
from tasks.labels.threads import one_thread_each
from tasks.open_models.devices import choose_device
from tasks.open_models.documents import draw_documents
from tasks.open_models.models import ModelRef
from tasks.open_models.near import near_vectors
from tasks.open_models.read_out import Speaker, Writing, make_speaker, write_traces
from tasks.open_models.spoken import Meaning, limits_of
from tasks.open_models.task import Room, open_room
from tasks.sequences.compact import CompactForm, read_compact
from tasks.sequences.tokens import TokenSequence
from warehouse.atomic import hash_dir
from warehouse.decoder_students_store import list_decoder_students, load_student_description
from warehouse.head_blocks import HeadBlocks, open_blocks
from warehouse.parquet import read_table, write_table
from warehouse.published import hash_code

logger = logging.getLogger(__name__)

MOST_SIMULATED = 4_000
"""Documents that simulators are fitted on at most: they hold a number for each pair."""

NO_TRACE = f"{DECODER_STUDENT}answers"
"""The students that answer without a trace: they have no rationale, no trajectory and no loss of the trace."""

SERVE = (
    "students of a folder's chat model write no compact traces and are not evaluated here; serve them with "
    "`transformers serve` and ask them as a teacher by `ctd trace`"
)

_LOADING = threading.Lock()
"""Models are loaded one at a time: loading sets process-wide defaults."""


@dataclass(frozen=True)
class Student:
    """A student's folder and what it says of itself."""

    path: Path
    description: DecoderStudentDescription

    @property
    def has_trace(self) -> bool:
        """It writes its reasoning before it answers."""
        return self.description.system != NO_TRACE


@dataclass(frozen=True)
class Material:
    """What all students are measured on."""

    room: Room
    form: CompactForm
    settings: FidelityConfig
    sequences: tuple[TokenSequence, ...]
    """Test documents in the order drawn."""
    dev_sequences: tuple[TokenSequence, ...]
    writing: WritingTask
    documents: Kernel
    """Of the first `MOST_SIMULATED` test documents."""


@task(cache_policy=NO_CACHE)
def measure_fidelity(
    run: RunRef, inputs: StageInputs, model: ModelRef, heads: HeadsConfig, fidelity: FidelityConfig, embed: EmbedConfig
) -> StageResult:
    """The `decoder_students` artifact -> traces, predictions, trajectories, and metrics of fidelity with their contrasts.

    What a student wrote and what it came to is stored as soon as it is there: another student, or a killed run, costs it nothing.

    Raises:
        ConfigError: the teacher is a folder's model, whose students do not write compact traces.
        ModelRefusedError: a student cannot be read as a writer of compact traces.
        EmptyTargetError: no test document has a whole trace.
        StorageError: there is no student, or one is damaged.
    """
    started = time.monotonic()
    if not model.is_compact:
        raise ConfigError(f"heads.model = {model.name!r}: {SERVE}")
    students = read_students(Path(inputs.artifacts["decoder_students"].path), model)
    material = read_material(open_room(run, inputs, model, heads, embed), fidelity, students)
    shared, meaning = made_from(material, model), open_meaning(material)
    found = work_through(material, students, partial(student_blocks, run, shared), meaning)
    teacher = teacher_track(material, open_blocks(run.root_path, run.dataset, [*shared, "teacher"]), meaning)
    scope = Scope(material.writing.document_ids, tuple(one.document_id for one in material.dev_sequences), fidelity)
    frames = result_rows(found, teacher, scope)
    own = {"dataset": pl.lit(run.dataset), "run_id": pl.lit(run.run_id)}
    tables = tuple(
        write_table(run, "fidelity", TABLES[name], TABLES[name].conform(frame.with_columns(**own)))
        for name, frame in frames.items()
    )
    logger.info(
        "fidelity: %d students, %d test documents and %d held-out train documents in, %.1f s",
        len(students), len(material.sequences), len(material.dev_sequences), time.monotonic() - started,
    )  # fmt: skip
    return StageResult(tables=tables, cost=StageCost(rows_in_count=len(material.sequences)))


def read_students(folder: Path, model: ModelRef) -> list[Student]:
    """The students of the artifact, by name.

    Raises:
        ConfigError: one writes no compact traces, or was taught by another decoder than the one that is compared with.
        StorageError: there is none, or one is damaged.
    """
    students = [Student(path, load_student_description(path)) for path in list_decoder_students(folder)]
    for student in students:
        teacher = student.description.teacher
        if not teacher.is_compact:
            raise ConfigError(f"student {student.path.name} of {teacher.name!r}: {SERVE}")
        if teacher.content_hash != model.content_hash:
            raise ConfigError(
                f"student {student.path.name} was taught by another decoder than the one published now; "
                "run `ctd distill-decoder` again"
            )
    return students


def read_material(room: Room, settings: FidelityConfig, students: Sequence[Student]) -> Material:
    """Documents, traces and pairs to leave out.

    Raises:
        EmptyTargetError: no test document has a whole trace.
    """
    if room.form is None:
        raise ConfigError(f"heads.model = {room.settings.model!r}: {SERVE}")
    traces = room.texts.traces.traces
    chosen = draw_documents(traces, "test", settings.max_documents or len(traces), settings.seed)
    if not chosen:
        raise EmptyTargetError("no test document has a whole trace, so there is nothing to write of; run `ctd trace`")
    dev = sorted({name for student in students for name in student.description.dev_document_ids})
    held = draw_documents(traces, "train", len(dev), settings.seed, dev)
    sequences, dev_sequences = room.read(chosen).sequences, room.read(sorted(held)).sequences
    writing = WritingTask(
        tuple(chosen),
        tuple(one.token_ids[: one.response_start].tolist() for one in sequences),
        read_filtered(read_table(room.inputs.tables["core_relevance"]), chosen),
        room.form.label_ids,
        settings.prediction_count,
        Writing(
            limits_of([*sequences, *dev_sequences])["whole"],
            settings.batch_size,
            settings.is_form_held,
            settings.temperature,
            settings.seed,
        ),
    )
    documents = document_kernel([room.texts.documents[name] for name in chosen[:MOST_SIMULATED]])
    return Material(room, room.form, settings, sequences, dev_sequences, writing, documents)


def read_filtered(relevance: pl.DataFrame, document_ids: Sequence[str]) -> dict[str, list[int]]:
    """Labels that are left out of each document's rankings."""
    pairs = relevance.filter("is_filtered").filter(pl.col("document_id").is_in(list(document_ids)))
    return dict(pairs.group_by("document_id").agg("label_id").iter_rows())


def made_from(material: Material, model: ModelRef) -> list[str]:
    """What every student's stored work is made from, besides the student itself."""
    inputs = material.room.inputs
    hashes = sorted(
        [ref.content_hash for ref in inputs.tables.values()] + [inputs.artifacts["label_index"].content_hash, model.content_hash]
    )
    code = hash_code(("tasks.fidelity", "tasks.open_models", "tasks.sequences", "tasks.labels", "schemas"))
    settings = json.dumps(material.settings.model_dump(mode="json", exclude={"bootstrap_count"}), sort_keys=True)
    return ["fidelity", code, settings, material.room.embed.model_dump_json(), *hashes]


def student_blocks(run: RunRef, shared: Sequence[str], student: Student) -> HeadBlocks:
    """The stored work of one student."""
    return open_blocks(run.root_path, run.dataset, [*shared, hash_dir(student.path)])


def work_through(
    material: Material, students: Sequence[Student], blocks_of: Callable[[Student], HeadBlocks], meaning: Meaning
) -> list[Found]:
    """The work of every student, side by side; steps are embedded by one thread after the other."""
    progress = log_progress("decoder students that wrote")
    embedding = threading.Lock()
    found = []
    with one_thread_each() as pool:
        for one in pool.map(lambda student: work_of(material, student, blocks_of(student), meaning, embedding), students):
            found.append(one)
            progress(len(found), len(students))
    return found


def work_of(material: Material, student: Student, blocks: HeadBlocks, meaning: Meaning, embedding: threading.Lock) -> Found:
    """What one student writes and what it comes to, each part taken if it is stored."""
    speaker = cache(partial(load_speaker, material, student))  # never loaded if all of its work is stored
    settings, system, seed = material.settings, student.description.system, student.description.seed
    written = blocks.take("written", lambda: write_and_rank(speaker(), material.writing, settings.read_out))
    if not student.has_trace:
        return Found(system, seed, written)  # traces that are drawn change nothing of what it answers
    drawn = None
    if settings.sample_count and student.description.method in (settings.sampled_methods or (student.description.method,)):
        drawn = blocks.take("drawn", lambda: draw_and_rank(speaker(), material.writing, settings.sample_count))
    held = set(student.description.dev_document_ids)
    dev = [one for one in material.dev_sequences if one.document_id in held]
    losses = blocks.take("losses", lambda: document_losses(speaker(), dev, settings.batch_size))
    part = written.head(len(material.documents))
    folds = draw_folds(len(part), settings.simulator_folds, settings.seed)
    names = material.form.names
    simulated = blocks.take("simulated", lambda: simulate_student(part, material.documents, names, folds))

    def track() -> pl.DataFrame:
        texts = written.head(settings.trajectory_documents).select("document_id", "written_text")
        with embedding:
            return track_of(material, texts.iter_rows(), meaning)

    return Found(system, seed, written, drawn, simulated, losses, blocks.take("track", track))


def load_speaker(material: Material, student: Student) -> Speaker:
    """A student's folder as a model ready to write.

    Raises:
        StorageError: it cannot be loaded.
        ModelRefusedError: its tokenizer lacks the marks of compact traces.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _LOADING:
            tokenizer = AutoTokenizer.from_pretrained(student.path, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(student.path, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
        raise StorageError(f"decoder student {student.path} cannot be loaded ({exc}); run `ctd distill-decoder` again") from exc
    model.train(False).to(choose_device(material.room.settings.device, "heads"))
    return make_speaker(model, tokenizer, material.form.tokens, student.has_trace, material.form.evidence_words)


def open_meaning(material: Material) -> Meaning:
    """Vectors of the followed documents and their near misses."""
    room, settings = material.room, material.settings
    names = [one.document_id for one in material.sequences[: settings.trajectory_documents]]
    vectors = open_embedder(room.run, room.embed, room.embed.document_tokens).embed([room.texts.documents[one] for one in names])
    near = near_vectors(read_table(room.inputs.tables["core_relevance"]), names, room.index, settings.near_miss_count)
    steps = open_embedder(room.run, room.embed, room.embed.label_tokens)
    return Meaning(dict(zip(names, vectors, strict=True)), near, steps.embed)


def teacher_track(material: Material, blocks: HeadBlocks, meaning: Meaning) -> pl.DataFrame:
    """Focus and Confusion along what the teacher decoder writes itself of the followed documents."""
    loaded, count = material.room.loaded, material.settings.trajectory_documents
    form = material.form

    def track() -> pl.DataFrame:
        speaker = make_speaker(loaded.model, loaded.tokenizer, form.tokens, True, form.evidence_words)
        written = write_traces(speaker, material.writing.prompts[:count], material.writing.writing)
        texts = zip(material.writing.document_ids, (speaker.text(one.token_ids) for one in written), strict=False)
        return track_of(material, texts, meaning)

    return blocks.take("track", track)


def track_of(material: Material, texts: Iterable[tuple[str, str]], meaning: Meaning) -> pl.DataFrame:
    """Focus and Confusion along written texts, given as (document id, text)."""
    said = {document: read_compact(text, material.form.label_ids) for document, text in texts}
    return student_track(said, material.form.names, meaning, material.settings.positions)
