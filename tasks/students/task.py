"""Train students from traces and gold labels, and predict with them."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig
from schemas.errors import ConfigError, StorageError
from schemas.refs import LabelReference, RunRef, StageCost, StageInputs, StageResult, TableRef
from schemas.selections import of_whole_traces
from schemas.student_settings import DistillConfig
from schemas.tables import CORE_PREDICTIONS, CORE_TRAIN_STEPS
from tasks.labels.embedder import label_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.progress import log_progress
from tasks.labels.search import LabelIds, Ranking, Vectors
from tasks.labels.task import open_embedder, open_label_index, refer_to_index
from tasks.labels.threads import one_thread_each
from tasks.students.anchors import read_anchors
from tasks.students.calibration import calibrate
from tasks.students.candidates import Texts
from tasks.students.card import write_card
from tasks.students.features import count_words, find_wording
from tasks.students.methods import Plan, plan_students
from tasks.students.packing import StudentDescription, pack_student, parameter_count, unpack_student
from tasks.students.prediction import list_predictions, measure_ranking, predict_labels
from tasks.students.supervision import (
    Pairs,
    Supervision,
    gold_supervision,
    read_supervision,
)
from tasks.students.training import last_step, train_student
from warehouse.checkpoints import (
    is_student,
    keep_only,
    list_students,
    load_arrays,
    load_description,
    load_losses,
    save_student,
)
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table

logger = logging.getLogger(__name__)

DEV_COUNT = 10
DESCRIBED_SETTINGS = (
    "shortlist_size",
    "max_cpu_s",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "temperature",
    "lambda_p1",
    "lambda_p2",
)


@dataclass(frozen=True)
class Material:
    """What all students of a stage share: documents, labels and pairs, as matrices in the order of `pairs`."""

    pairs: Pairs
    texts: Texts
    gold: Supervision
    label_ids: LabelIds
    label_vectors: Vectors
    label_uids: list[str]
    label_names: dict[int, str]
    document_texts: list[str]


@dataclass(frozen=True)
class Workroom:
    """Where a stage's students are made, from which settings and inputs."""

    run: RunRef
    folder: Path
    inputs: StageInputs
    distill: DistillConfig
    embed: EmbedConfig
    label_index: LabelReference

    def fingerprint(self, system: str) -> str:
        """What a student of this method is made from: its own settings, so that those of one method leave the others be."""
        return fingerprint(self.inputs, self.distill.of(system), self.embed)


@task(cache_policy=NO_CACHE)
def train_students(run: RunRef, inputs: StageInputs, distill: DistillConfig, embed: EmbedConfig) -> StageResult:
    """Traces and gold labels of train documents -> the `students` artifact, and `core_train_steps`.

    A student's folder appears whole; a second call of the same run trains those that are missing.

    Raises:
        TrainingError: too few usable traces for a method, or a loss that is not finite.
    """
    started = time.monotonic()
    documents = read_table(inputs.tables["core_documents"]).filter(pl.col("split") == "train")
    material = read_material(run, inputs, documents, embed)
    plans = plan_students(read_teacher(material, inputs), material.gold, distill)
    folder = artifact_path(run.root_path, run.run_id, "distill", "students")
    room = Workroom(run, folder, inputs, distill, embed, refer_to_index(run, inputs.artifacts["label_index"], embed))
    missing = make_students(room, material, plans)
    losses = pl.concat(load_losses(folder / plan.name) for plan in plans).with_columns(dataset=pl.lit(run.dataset))
    table = write_table(run, "distill", CORE_TRAIN_STEPS, CORE_TRAIN_STEPS.conform(losses))
    left_out = len(documents) - int(plans[0].is_usable.sum())
    logger.info(
        "distill: %d documents in, %d without a usable trace, %d students out, %d of them were there, %.1f s",
        len(documents), left_out, len(plans), len(plans) - missing, time.monotonic() - started,
    )  # fmt: skip
    artifact = artifact_ref(run, "distill", "students", folder)
    return StageResult(
        tables=(table,), artifacts=(artifact,), cost=StageCost(rows_in_count=len(documents), rejected_count=left_out)
    )


@task(cache_policy=NO_CACHE)
def predict_students(run: RunRef, inputs: StageInputs, prediction_count: int, embed: EmbedConfig) -> TableRef:
    """The `students` artifact and the test documents -> `core_predictions` of the students, without pairs to leave out.

    Raises:
        ConfigError: a student was trained with another embedder.
        StorageError: there is no student, or one is damaged.
    """
    started = time.monotonic()
    folders = list_students(Path(inputs.artifacts["students"].path))
    documents = read_table(inputs.tables["core_documents"]).filter(pl.col("split") == "test")
    material = read_material(run, inputs, documents, embed)
    progress = log_progress("students that predicted")
    parts = []
    with one_thread_each() as pool:
        predict = partial(predict_with, material=material, prediction_count=prediction_count, embed=embed)
        for part in pool.map(predict, folders):
            parts.append(part)
            progress(len(parts), len(folders))
    predictions = pl.concat(parts).with_columns(dataset=pl.lit(run.dataset))
    logger.info(
        "predict: %d students, %d test documents in, %d predictions out, %.1f s",
        len(folders), len(documents), len(predictions), time.monotonic() - started,
    )  # fmt: skip
    return write_table(run, "predict", CORE_PREDICTIONS, CORE_PREDICTIONS.conform(predictions))


def read_material(run: RunRef, inputs: StageInputs, documents: pl.DataFrame, embed: EmbedConfig) -> Material:
    """Vectors, words, wording and pairs to leave out of some documents, and the label index."""
    labels = read_table(inputs.tables["core_labels"])
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    labels = pl.DataFrame({"label_id": index.label_ids}).join(labels, on="label_id", how="left", maintain_order="left")
    label_texts = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    pairs = Pairs(tuple(documents["document_id"]), index.label_ids)
    texts = documents["document_text"].to_list()
    vectors = open_embedder(run, embed, embed.document_tokens).embed(texts, log_progress("documents embedded"))
    relevance = read_table(inputs.tables["core_relevance"])
    barred = pairs.matrix(relevance.filter("is_filtered"))
    wording = find_wording(LexicalIndex(index.label_ids, label_texts), index.label_ids, texts)
    gold = gold_supervision(pairs, barred, relevance)
    return Material(
        pairs=pairs,
        texts=Texts(vectors, count_words(texts), wording, barred),
        gold=gold,
        label_ids=index.label_ids,
        label_vectors=np.array(index.vectors, dtype=np.float32),  # a copy: torch takes no read-only memory map
        label_uids=labels["label_uid"].to_list(),
        label_names=dict(labels.select("label_id", "label_name").iter_rows()),
        document_texts=texts,
    )


def read_teacher(material: Material, inputs: StageInputs) -> Supervision:
    """What the teacher answered, shortlisted, kept, dropped and cited, in the order of `material`."""
    traces = read_table(inputs.tables["core_traces"], ["trace_id", "variant", "sample_index"])
    answers, shortlist, steps = (
        of_whole_traces(read_table(inputs.tables[f"core_{name}"]), traces) for name in ("answers", "shortlist", "steps")
    )
    anchors = read_anchors(material.pairs.document_ids, material.document_texts, material.label_names, steps)
    return read_supervision(material.pairs, material.texts.barred, answers, shortlist, steps, anchors)


def make_students(room: Workroom, material: Material, plans: Sequence[Plan]) -> int:
    """Train the students that do not stand in the folder yet, side by side; how many there were."""
    keep_only(room.folder, {plan.name for plan in plans})
    missing = [plan for plan in plans if not is_finished(room.folder / plan.name, room.fingerprint(plan.system))]
    progress = log_progress("students trained")
    with one_thread_each() as pool:
        for done, _ in enumerate(pool.map(partial(make_student, room, material), missing), 1):
            progress(done, len(missing))
    return len(missing)


def fingerprint(inputs: StageInputs, distill: DistillConfig, embed: EmbedConfig) -> str:
    """What the students of one method are made from, as a hash: settings that shape each of them, and inputs by content."""
    settings = distill.model_dump_json(exclude={"methods", "seeds", "has_supervised_reference", "overrides"})
    tables = [ref.content_hash for ref in inputs.tables.values()]
    hashes = sorted(tables + [ref.content_hash for ref in inputs.artifacts.values()])
    return hashlib.sha256("\n".join([settings, embed.model_dump_json(), *hashes]).encode()).hexdigest()


def is_finished(path: Path, expected: str) -> bool:
    """True if a whole student of this fingerprint stands at `path`; a damaged one is trained again."""
    try:
        return is_student(path) and load_description(path, StudentDescription).fingerprint == expected
    except StorageError:
        return False


def make_student(room: Workroom, material: Material, plan: Plan) -> None:
    """Train one student, measure it on its development documents, and write its folder."""
    started = time.thread_time()
    distill, vectors, label_ids = room.distill.of(plan.system), material.label_vectors, material.label_ids
    train, dev = plan.split(distill.dev_frac)
    texts, supervision = material.texts.take(train), plan.supervision.take(train)
    student, losses = train_student(texts, supervision, vectors, distill, plan.phases, plan.seed)
    size = distill.shortlist_size
    ranking = predict_labels(student, material.texts.take(dev), label_ids, vectors, size, max(size, DEV_COUNT))
    shortlist = Ranking(ranking.label_ids[:, :size], ranking.scores[:, :size])
    metrics = measure_ranking(ranking, label_ids, material.gold.answers[dev])
    arrays, uids = pack_student(student, material.label_uids)
    description = StudentDescription(
        system=plan.system,
        seed=plan.seed,
        dataset=room.run.dataset,
        run_id=room.run.run_id,
        fingerprint=room.fingerprint(plan.system),
        embedder=room.embed.model,
        document_tokens=room.embed.document_tokens,
        label_tokens=room.embed.label_tokens,
        d_model=vectors.shape[1],
        label_count=len(label_ids),
        labels_hash=room.inputs.tables["core_labels"].content_hash,
        document_count=len(train),
        left_out_count=len(plan.is_usable) - len(train) - len(dev),
        dev_document_count=len(dev),
        dev_metrics=metrics,
        parameter_count=parameter_count(student),
        shortlister_steps=last_step(losses, "shortlister"),
        refiner_steps=last_step(losses, "refiner"),
        train_cpu_s=time.thread_time() - started,
        remembered_uids=uids,
        precision=room.embed.precision,
        label_index=room.label_index,
        calibration=calibrate(shortlist, label_ids, plan.supervision.answers[dev], plan.seed),
        **distill.model_dump(include=set(DESCRIBED_SETTINGS)),
    )
    rows = pl.DataFrame([asdict(loss) for loss in losses]).with_columns(system=pl.lit(plan.system), seed=pl.lit(plan.seed))
    save_student(room.folder / plan.name, arrays, description, write_card(description), rows)


def predict_with(folder: Path, material: Material, prediction_count: int, embed: EmbedConfig) -> pl.DataFrame:
    """One student's predictions, as rows of `core_predictions` without the dataset.

    Raises:
        ConfigError: it was trained with another embedder.
    """
    description = load_description(folder, StudentDescription)
    trained = (description.embedder, description.document_tokens, description.label_tokens)
    asked = (embed.model, embed.document_tokens, embed.label_tokens)
    if trained != asked:
        raise ConfigError(f"student {folder.name}: trained with embed = {trained}, asked to predict with {asked}; use the former")
    student = unpack_student(load_arrays(folder), description, material.label_uids)
    ranking = predict_labels(
        student,
        material.texts,
        material.label_ids,
        material.label_vectors,
        description.shortlist_size,
        prediction_count,
    )
    rows = list_predictions(ranking, material.pairs.document_ids)
    return rows.with_columns(system=pl.lit(description.system), seed=pl.lit(description.seed))
