"""Teacher, documents and traces of decoder students, how students begin, and what the teacher does: made once for all of them."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from schemas.config import EmbedConfig, HeadsConfig
from schemas.decoders import TeacherReference
from schemas.refs import RunRef, StageInputs
from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.cached_signals import (
    Arrays,
    hash_sequences,
    teacher_signals,
    teacher_slices,
)
from tasks.decoder_students.description import Origin
from tasks.decoder_students.learner import Learner, folder_learner, small_learner
from tasks.decoder_students.lecturer import Lecturer, heads_by_phase, make_lecturer
from tasks.decoder_students.machine import device_of, prepare_accelerate
from tasks.decoder_students.matching import Slot, choose_teacher_heads, draw_teacher_heads, read_profiles
from tasks.decoder_students.material import Lessons, Reader, Split, split_documents, usable_documents
from tasks.decoder_students.methods import DISTRIBUTION, Plan, Teaching
from tasks.decoder_students.requests import check_answers, check_heads, check_request, check_tokenizers
from tasks.decoder_students.signals import PhaseHeads
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder, refer_to_index
from tasks.open_models.factorised import DRAWING, Sizes, build_decoder, place_vectors
from tasks.open_models.models import ModelRef, check_folder
from tasks.open_models.task import Room, open_room
from tasks.sequences.compact import MARKS
from tasks.sequences.tokens import TokenSequence
from warehouse.embedding_store import model_digest
from warehouse.parquet import read_table
from warehouse.published import hash_code
from warehouse.signal_store import SignalStore, open_signals

logger = logging.getLogger(__name__)

SEQUENCE_SETTINGS = {"prompt_text", "max_tokens", "precision"}
"""Settings of the teacher that shape what students read."""

SIGNAL_BATCH = 16


@dataclass(frozen=True)
class Answers:
    """What students of the final answers read: traces in compact form as they are, of a chat model the answers by themselves."""

    train: tuple[TokenSequence, ...]
    dev: tuple[TokenSequence, ...]


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
    answers: Answers
    scores: pl.DataFrame
    """Rows of `core_head_scores` of the teacher."""

    @property
    def run(self) -> RunRef:
        """The run."""
        return self.room.run

    @property
    def is_side_by_side(self) -> bool:
        """Small students on a CPU are trained side by side, a thread each; others one after the other."""
        return self.settings.student is None and device_of(self.settings).type == "cpu"

    @property
    def clock(self) -> Callable[[], float]:
        """CPU seconds of one student's training."""
        return time.thread_time if self.is_side_by_side else time.process_time

    def lessons(self, has_trace: bool) -> Lessons:
        """What a student is taught."""
        every = [len(self.reader.trace(one).token_ids) for one in self.train]
        read = (self.train, self.dev) if has_trace else (self.answers.train, self.answers.dev)
        train, dev = (self.reader.lessons(some, has_trace) for some in read)
        return Lessons(train, dev, every, self.room.loaded.pad_id)

    def slots(self, teaching: Teaching, seed: int) -> tuple[Slot, ...]:
        """The teacher's heads that a student imitates."""
        counts = self.settings.phase1_heads, self.settings.phase2_heads
        chosen = choose_teacher_heads(self.scores, *counts)
        if not teaching.is_random:
            return chosen
        parts = self.room.loaded.parts
        return draw_teacher_heads(parts.layer_count, parts.head_count, *counts, seed, {(one.layer, one.head) for one in chosen})


def open_classroom(
    run: RunRef, inputs: StageInputs, model: ModelRef, students: DecoderStudentsConfig, heads: HeadsConfig, embed: EmbedConfig
) -> Classroom:
    """Check what is asked for, load the teacher, and read documents and traces as it does.

    Raises:
        ConfigError: the settings do not fit the teacher or the student's folder, or answers are asked for that stand in no trace.
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
    answers = Answers(train.sequences, dev.sequences)
    if "answers" in students.methods and room.form is None:
        answers = read_final_answers(room, model, split)
    return Classroom(room, model, students, split, open_reader(room), train.sequences, dev.sequences, answers, scores)


def read_final_answers(room: Room, model: ModelRef, split: Split) -> Answers:
    """The final answers of a chat model's traces, without their reasoning, of the same documents.

    Raises:
        ConfigError: most traces have no part for them.
    """
    read = room.read_answers((*split.train, *split.dev))
    count = len(split.train)
    check_answers(read.unseparable, len(read.sequences), model)
    logger.info("distill-decoder: traces without a part for the final answers: %s", dict(read.unseparable) or "none")
    return Answers(read.sequences[:count], read.sequences[count:])


def open_reader(room: Room) -> Reader:
    """How the teacher's sequences become lessons."""
    tokenizer = room.loaded.tokenizer
    unknown, end = tokenizer.unk_token_id, tokenizer.eos_token_id
    marks = dict(tokenizer.get_vocab()) if room.form is not None else None
    return Reader(marks, -1 if unknown is None else int(unknown), None if end is None else int(end), room.loaded.max_tokens)


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


Start = Callable[[int], Learner]
"""Seed -> a student before its training, on its device."""


def open_start(classroom: Classroom) -> Start:
    """How students begin: small ones with vectors of the embedder, or as a folder's model; accelerate is set up for them."""
    settings = classroom.settings
    device = device_of(settings)
    prepare_accelerate(settings)
    if settings.student is not None:
        return partial(start_folder, student_folder(settings.student), settings, device)
    vectors, config = vocabulary_vectors(classroom.room), classroom.room.loaded.model.config
    sizes = Sizes(settings.layers, settings.d_model, settings.heads, settings.kv_heads)
    tokenizer = classroom.room.loaded.tokenizer
    end = int(tokenizer.eos_token_id)

    def start(seed: int) -> Learner:
        made = build_decoder(sizes, vectors, int(config.max_position_embeddings), classroom.room.loaded.pad_id, end, seed)
        return small_learner(made.to(device))

    return start


def start_folder(folder: Path, settings: DecoderStudentsConfig, device: torch.device, seed: int) -> Learner:
    """A student with a folder's weights, in float32: mixed precision keeps its weights whole."""
    from transformers import AutoModelForCausalLM

    with DRAWING:
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
    has_tokens = any(DISTRIBUTION in plan.teaching.terms for plan in asked)
    kept, parts = heads_by_phase(slots), classroom.room.loaded.parts
    store = fill_store(classroom, kept, classroom.settings.kd_top if has_tokens else 0)
    slices = store.take_shared(lambda: teacher_slices(parts, kept))
    profiles = read_profiles(classroom.scores) if slots else np.zeros((1, 1, 6))
    return make_lecturer(store, slices, kept, classroom.train, profiles, parts.d_model)


def fill_store(classroom: Classroom, kept: PhaseHeads, top: int) -> SignalStore:
    """The teacher's signals on the documents that are trained on; those that are not stored yet are made.

    Args:
        classroom: teacher and documents.
        kept: heads that are observed.
        top: likeliest next tokens kept of each distribution.
    """
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
    return store


def origin_of(classroom: Classroom) -> Origin:
    """What the students' folders say of where they come from."""
    room = classroom.room
    return Origin(
        dataset=room.run.dataset,
        run_id=room.run.run_id,
        teacher=refer_to_teacher(classroom),
        embedder=room.embed.model,
        label_index=refer_to_index(room.run, room.inputs.artifacts["label_index"], room.embed),
        labels_hash=room.inputs.tables["core_labels"].content_hash,
        split=classroom.split,
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
