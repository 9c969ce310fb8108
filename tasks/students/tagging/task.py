"""Label a file of texts with a trained student: survey it, tag it part by part, put the parts together."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, TagConfig
from schemas.errors import ConfigError, IndexRefusedError, InputFormatError, MissingTableError
from schemas.refs import Frozen, LabelReference, RunRef, StageInputs
from schemas.stages import Stage
from tasks.labels.embedder import CachedEmbedder, VectorStore, label_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.progress import log_progress
from tasks.labels.search import LabelIds
from tasks.labels.task import open_embedder, open_label_index
from tasks.students.calibration import Calibration
from tasks.students.packing import StudentDescription, unpack_student
from tasks.students.tagging.documents import Columns, Document, Sieve, Skipped, Survey, choose_columns, describe_skipped
from tasks.students.tagging.rows import TAG_SCHEMA, LabelNames
from tasks.students.tagging.tagger import LeftOut, Tagger
from tasks.students.tagging.vectors import PassingStore
from warehouse.atomic import hash_dir, hash_file
from warehouse.checkpoints import is_student, list_students, load_arrays, load_description
from warehouse.index_store import load_manifest
from warehouse.parquet import read_table
from warehouse.published import find_inputs, hash_code, newest_outputs
from warehouse.tag_files import TagFiles, TagRecord
from warehouse.text_files import FileFormat, column_names, file_format, read_rows

logger = logging.getLogger(__name__)

NEEDS = Stage("tag", "students", ("tag",), ("core_documents", "core_labels", "core_relevance"), ("label_index",))
"""What tagging reads of a data root; it is no stage, as it publishes nothing there."""

CODE = ("tasks.students", "tasks.labels", "schemas", "warehouse")
"""Packages whose code shapes the output: parts made by other code are made again."""

Lines = list[tuple[str, str]]


class TagOrder(Frozen):
    """Which file is tagged, into which, in which formats (None: by their names)."""

    source: str
    target: str
    source_format: str | None = None
    target_format: str | None = None
    is_overwriting: bool = False


class ChosenStudent(Frozen):
    """A student's folder, and the dataset and data root whose labels it chooses from."""

    folder: str
    dataset: str
    root: str


@dataclass(frozen=True)
class Server:
    """A student that can serve: its description, the references it needs, its embedder and the vectors known already."""

    folder: Path
    description: StudentDescription
    calibration: Calibration
    inputs: StageInputs
    embed: EmbedConfig
    store: VectorStore


@dataclass(frozen=True)
class Source:
    """A file to be tagged."""

    path: Path
    form: FileFormat
    columns: Columns

    def rows(self) -> Iterator[Document | Skipped]:
        """Its rows, each a document or left out."""
        sieve = Sieve(self.columns)
        for row in read_rows(self.path, self.form, self.columns.names):
            yield sieve.check(row.line_number, row.values, row.problem)

    def documents(self) -> Iterator[Document]:
        """Its documents."""
        return (row for row in self.rows() if isinstance(row, Document))


def find_student(name: str, root: str) -> ChosenStudent:
    """The student of a folder, or the newest published one of `DATASET/SYSTEM` or `DATASET/SYSTEM-seedN`.

    Raises:
        ConfigError: there is no such student; says which there are.
        StorageError: its folder is damaged.
    """
    path = Path(name).expanduser()
    if is_student(path):
        folder = path.resolve()
        return ChosenStudent(folder=str(folder), dataset=load_description(folder, StudentDescription).dataset, root=root)
    if path.is_dir():
        raise ConfigError(f"{path}: is no student's folder: it lacks one of model.safetensors, config.json, README.md")
    dataset, _, system = name.partition("/")
    outputs = newest_outputs(Path(root).expanduser().resolve(), ["distill"])
    there = {output.dataset: Path(output.artifacts[0].path) for output in outputs if output.artifacts}
    if dataset not in there:
        raise ConfigError(
            f"student {name!r}: is neither a folder nor DATASET/SYSTEM of a dataset with students in {root} "
            f"({', '.join(sorted(there)) or 'there is none'}); run `ctd distill`, or give --root"
        )
    students = list_students(there[dataset])
    found = [student for student in students if system in (student.name, student.name.rpartition("-seed")[0])]
    if not found:
        names = ", ".join(f"{dataset}/{student.name}" for student in students)
        raise ConfigError(f"student {name!r}: {dataset} has no such student; there are {names}")
    return ChosenStudent(folder=str(found[0]), dataset=dataset, root=root)


@task(cache_policy=NO_CACHE)
def tag_file(run: RunRef, student: ChosenStudent, order: TagOrder) -> Lines:
    """Texts of `order.source` -> labels with probabilities in `order.target`, which appears whole or not at all.

    Parts are kept beside the target while it is made, so the same call goes on after a kill; a finished one is left alone.

    Raises:
        ConfigError: a path, column, format or setting is wrong, or the student cannot give probabilities.
        InputFormatError: the file cannot be read, changes meanwhile, or too many of its rows cannot be tagged.
        IndexRefusedError: the label index is damaged, or made with another embedder than the student's.
        MissingTableError: the data root has no label index of the student's dataset.
        StorageError: the output cannot be written.
    """
    settings, target = run.config.tag, Path(order.target).expanduser()
    source = open_source(order, settings)
    form = file_format(target, order.target_format, "--out-format")
    server = open_server(run, Path(student.folder), settings)
    source_hash = hash_file(source.path)
    shape = (form, target.name.lower().endswith(".gz"))
    files = TagFiles(target, form, tag_key(run, server, source, source_hash, shape))
    done = files.finished()
    if done is not None:
        logger.info("tag: nothing changed, %s is left as it is", target)
        return describe(done, files, None)
    files.refuse_other(order.is_overwriting)
    with files.opened():
        before = stamp(source.path)
        survey = survey_rows(source, files, settings)
        record = TagRecord(
            key=files.key,
            student=server.description.name,
            dataset=run.dataset,
            label_count=server.inputs.tables["core_labels"].row_count,
            source=str(source.path),
            source_hash=source_hash,
            settings=settings.model_dump(),
            document_count=survey.document_count,
            row_count=0,
            skipped=survey.skipped,
            target_hash="",
        )
        rate, row_count, part_count = tag_parts(run, server, source, files, survey.document_count)
        if stamp(source.path) != before or hash_file(source.path) != source_hash:
            files.discard()
            raise InputFormatError(f"{source.path}: changed while it was tagged; run it again")
        done = files.publish(part_count, TAG_SCHEMA, record.model_copy(update={"row_count": row_count}))
    return describe(done, files, rate)


def open_source(order: TagOrder, settings: TagConfig) -> Source:
    """The file to be tagged, with the columns that are read of it.

    Raises:
        ConfigError: there is no such file, it is the target too, or a column or format is wrong.
        InputFormatError: it cannot be read.
    """
    path, target = Path(order.source).expanduser(), Path(order.target).expanduser()
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    if target.exists() and target.samefile(path):
        raise ConfigError(f"{path}: input and output are the same file; name another output")
    form = file_format(path, order.source_format, "--format")
    columns = choose_columns(column_names(path, form), settings.text_column, settings.id_column, str(path))
    return Source(path, form, columns)


def open_server(run: RunRef, folder: Path, settings: TagConfig) -> Server:
    """The student and what it needs, if all of it fits.

    Raises:
        ConfigError: it has no probabilities, a shorter shortlist than asked for, or its embedder changed or is gone.
        IndexRefusedError: the dataset's label index is made with another embedder.
        MissingTableError: the dataset has no label index.
    """
    description = load_description(folder, StudentDescription)
    reference = description.label_index
    if reference is None:
        raise ConfigError(f"student {folder}: is of an older version, without probabilities; run `ctd distill` again")
    if description.calibration is None:
        raise ConfigError(
            f"student {folder}: has no probabilities, too few of its development documents have an answer; trace more documents "
            "or raise distill.dev_frac, and run `ctd distill` again"
        )
    if settings.top > description.shortlist_size:
        raise ConfigError(
            f"tag.top = {settings.top}: student {folder.name} ranks {description.shortlist_size} labels a document; lower --top"
        )
    embed = EmbedConfig(
        model=description.embedder,
        document_tokens=description.document_tokens,
        label_tokens=description.label_tokens,
        precision=description.precision,
        batch_size=run.config.embed.batch_size,
    )
    inputs = find_labels(run, folder)
    embedder = open_embedder(run, embed, embed.document_tokens)
    refuse_other_embedder(folder, reference, embedder, load_manifest(Path(inputs.artifacts["label_index"].path)).embedder)
    if inputs.tables["core_labels"].content_hash != description.labels_hash:
        logger.info("tag: the labels of %s changed since the student was trained; it knows them by uid", run.dataset)
    return Server(folder, description, description.calibration, inputs, embed, embedder.store)


def find_labels(run: RunRef, folder: Path) -> StageInputs:
    """The tables and the label index of the student's dataset.

    Raises:
        MissingTableError: the data root lacks one; says so if the student stands in another data root.
    """
    try:
        return find_inputs(run, NEEDS)
    except MissingTableError as exc:
        home = next((parent for parent in folder.parents if (parent / "published").is_dir()), run.root_path)
        if home == run.root_path:
            raise
        raise MissingTableError(f"{exc}; the student stands in the data root {home}: did you mean --root {home}?") from exc


def refuse_other_embedder(folder: Path, reference: LabelReference, embedder: CachedEmbedder, index_embedder: str) -> None:
    """Refuse to compare vectors of different embedders.

    Raises:
        ConfigError: the embedder's content is not what the student was trained with.
        IndexRefusedError: the labels are embedded with another.
    """
    if embedder.identity != reference.document_embedder:
        raise ConfigError(
            f"student {folder}: trained with the embedder {reference.document_embedder}, here is {embedder.identity}; put the "
            "former back, or run `ctd distill` again"
        )
    if index_embedder != reference.label_embedder:
        raise IndexRefusedError(
            f"student {folder}: trained on labels embedded with {reference.label_embedder}, the current label index is embedded "
            f"with {index_embedder}; run `ctd index` with the former embed settings, or `ctd distill` again"
        )


def tag_key(run: RunRef, server: Server, source: Source, source_hash: str, shape: tuple[str, bool]) -> str:
    """SHA-256 over everything the output depends on: equal keys make equal outputs."""
    settings = run.config.tag
    parts = {
        "student": hash_dir(server.folder),
        "tables": {name: ref.content_hash for name, ref in server.inputs.tables.items()},
        "index": server.inputs.artifacts["label_index"].content_hash,
        "batch": run.config.embed.batch_size,
        "source": source_hash,
        "form": source.form,
        "columns": asdict(source.columns),
        "settings": [settings.top, settings.min_probability, settings.part_documents],
        "shape": shape,
        "code": hash_code(CODE),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file: what changes with its content, nearly always."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def survey_rows(source: Source, files: TagFiles, settings: TagConfig) -> Survey:
    """Read the whole file once: count its documents, note what cannot be tagged, and stop here if that is too much.

    Raises:
        InputFormatError: too many rows cannot be tagged.
    """
    survey = Survey()

    def skipped() -> Iterator[dict[str, object]]:
        for row in source.rows():
            survey.add(row)
            if isinstance(row, Skipped):
                yield asdict(row)

    files.note_skipped(skipped())
    try:
        survey.refuse_too_many(settings.max_reject_frac, str(source.path))
    except InputFormatError:
        files.discard()
        raise
    if survey.skipped_count:
        logger.warning("tag: %d rows cannot be tagged: %s", survey.skipped_count, describe_skipped(survey.skipped))
    return survey


def tag_parts(run: RunRef, server: Server, source: Source, files: TagFiles, document_count: int) -> tuple[float, int, int]:
    """Tag the parts that are missing; documents a second, rows and parts of the output."""
    size = run.config.tag.part_documents
    documents, store = source.documents(), PassingStore(server.store)
    embed = server.embed
    embedder = CachedEmbedder(embed.model, embed.document_tokens, embed.batch_size, store, embed.precision)
    tagger: Tagger | None = None
    progress, started = log_progress("documents tagged"), time.monotonic()
    done = fresh = row_count = number = 0
    while part := list(islice(documents, size)):
        rows = files.part_rows(number)
        if rows is None:
            tagger = tagger or open_tagger(run, server)
            store.empty()
            texts = [document.text for document in part]
            tagged = tagger.tag([document.document_id for document in part], texts, embedder.embed(texts))
            files.write_part(number, tagged)
            rows, fresh = len(tagged), fresh + len(part)
        done, row_count, number = done + len(part), row_count + rows, number + 1
        progress(done, document_count)
    return fresh / max(time.monotonic() - started, 1e-9), row_count, number


def open_tagger(run: RunRef, server: Server) -> Tagger:
    """The student with the labels of the current index."""
    labels = read_table(server.inputs.tables["core_labels"])
    index = open_label_index(run, server.inputs.artifacts["label_index"], server.inputs.tables["core_labels"])
    labels = pl.DataFrame({"label_id": index.label_ids}).join(labels, on="label_id", how="left", maintain_order="left")
    texts = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    uids = labels["label_uid"].to_list()
    return Tagger(
        student=unpack_student(load_arrays(server.folder), server.description, uids),
        shortlist_size=server.description.shortlist_size,
        calibration=server.calibration,
        label_ids=index.label_ids,
        label_vectors=np.array(index.vectors, dtype=np.float32),  # a copy: torch takes no read-only memory map
        lexical=LexicalIndex(index.label_ids, texts),
        names=LabelNames(index.label_ids, uids, labels["label_name"].to_list()).frame(),
        top=run.config.tag.top,
        floor=run.config.tag.min_probability,
        left_out=read_left_out(server.inputs, index.label_ids),
    )


def read_left_out(inputs: StageInputs, label_ids: LabelIds) -> dict[str, LeftOut]:
    """The pairs that the dataset leaves out, by document, for documents of the dataset that are tagged.

    A package's own name is a label of such data: it would stand first, and no evaluation counts it.
    """
    rows = pl.DataFrame({"label_id": label_ids}, schema={"label_id": pl.Int32}).with_row_index("row")
    pairs = read_table(inputs.tables["core_relevance"]).filter("is_filtered").join(rows, on="label_id")
    grouped = pairs.group_by("document_id").agg(pl.col("row").cast(pl.Int64).sort())
    hashes = read_table(inputs.tables["core_documents"], ["document_id", "text_hash"])
    found = grouped.join(hashes, on="document_id").select("document_id", "text_hash", "row")
    return {name: LeftOut(text_hash, np.array(labels, dtype=np.int64)) for name, text_hash, labels in found.iter_rows()}


def describe(record: TagRecord, files: TagFiles, rate: float | None) -> Lines:
    """What was done, for people to read."""
    skipped = sum(record.skipped.values())
    reasons = f" ({describe_skipped(record.skipped)}): {files.skipped}" if skipped else ""
    lines = [
        ("student", f"{record.student} of {record.dataset}, {record.label_count:,} labels"),
        ("documents", f"{record.document_count:,}"),
        ("rows", f"{record.row_count:,}"),
        ("skipped", f"{skipped:,}{reasons}"),
        ("output", str(files.target)),
    ]
    speed = "none were tagged, nothing changed since" if rate is None else f"{rate:,.1f} a second"
    return [*lines[:2], ("speed", speed), *lines[2:]]
