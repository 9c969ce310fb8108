"""Train a small decoder on the traces of train documents, to stand in for an open-weights teacher."""

import hashlib
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import DecoderConfig, EmbedConfig
from schemas.decoders import DecoderDescription
from schemas.errors import StorageError
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.selections import whole_traces
from schemas.tables import CORE_TRAIN_STEPS
from tasks.decoders.card import write_card
from tasks.decoders.material import Material, prepare, token_vectors, usable_texts
from tasks.decoders.training import Lessons, pack_state, train, unpack_state
from tasks.labels.progress import log_progress
from tasks.labels.search import LabelIndex
from tasks.labels.task import open_embedder, open_label_index
from tasks.open_models.devices import choose_device
from tasks.open_models.factorised import FactorisedDecoder, materialise, new_decoder
from tasks.open_models.steps import StepLoss
from tasks.sequences.annotated import AnnotatedText
from tasks.sequences.compact import CompactForm, label_tokens, read_compact
from tasks.sequences.generation import continue_greedily
from tasks.sequences.traces import TraceTables, nearest_by
from warehouse.decoder_store import (
    decoder_dir,
    drop_checkpoint,
    find_checkpoint,
    load_decoder_description,
    load_decoder_losses,
    save_checkpoint,
    save_decoder,
)
from warehouse.parquet import artifact_ref, read_table, scan_table, write_table

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

logger = logging.getLogger(__name__)

FORMAT_COUNT = 64
"""Development documents whose traces are written to see whether they keep the form."""

FORMAT_BATCH = 32
MOST_DEV_FRAC = 0.9
MOST_WRITTEN = 256
"""Tokens of a written trace; the teacher's have some 55 in compact form."""


@dataclass(frozen=True)
class Room:
    """Where a decoder is made, from which settings and inputs."""

    run: RunRef
    inputs: StageInputs
    settings: DecoderConfig
    embed: EmbedConfig
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Where it will stand."""
        return decoder_dir(self.run.root_path, self.run.run_id)


@task(cache_policy=NO_CACHE)
def train_decoder(run: RunRef, inputs: StageInputs, decoder: DecoderConfig, embed: EmbedConfig) -> StageResult:
    """Whole traces of train documents -> the `decoder` artifact, a Hugging Face folder, and `core_train_steps`.

    A training that was killed goes on from its last checkpoint, in the same run or a later one; a finished one is not made again.

    Raises:
        TrainingError: too few usable traces, no label among them, or a loss that is not finite.
        StorageError: the folder cannot be written.
    """
    started = time.monotonic()
    room = Room(run, inputs, decoder, embed, fingerprint(inputs, decoder, embed))
    if not is_finished(room.folder, room.fingerprint):
        make_decoder(room)
    description = load_decoder_description(room.folder)
    losses = load_decoder_losses(room.folder).with_columns(dataset=pl.lit(run.dataset))
    table = write_table(run, "decoder", CORE_TRAIN_STEPS, CORE_TRAIN_STEPS.conform(losses))
    used = description.document_count + len(description.dev_document_ids)
    logger.info(
        "decoder: %d train documents in, %d not used, held-out loss %.2f, %.0f%% keep the form, %.1f s",
        used + description.left_out_count, description.left_out_count, description.dev_losses["total_loss"],
        100 * description.format_frac, time.monotonic() - started,
    )  # fmt: skip
    return StageResult(
        tables=(table,),
        artifacts=(artifact_ref(run, "decoder", "decoder", room.folder),),
        cost=StageCost(rows_in_count=used + description.left_out_count, rejected_count=description.left_out_count),
    )


def fingerprint(inputs: StageInputs, decoder: DecoderConfig, embed: EmbedConfig) -> str:
    """What a decoder is made from, as a hash: settings that shape it, and inputs by content."""
    settings = decoder.model_dump_json(exclude={"checkpoint_steps", "device"})
    tables = [ref.content_hash for ref in inputs.tables.values()]
    hashes = sorted(tables + [ref.content_hash for ref in inputs.artifacts.values()])
    return hashlib.sha256("\n".join([settings, embed.model_dump_json(), *hashes]).encode()).hexdigest()


def is_finished(path: Path, expected: str) -> bool:
    """True if a whole decoder of this fingerprint stands at `path`; a damaged one is trained again."""
    try:
        return load_decoder_description(path).fingerprint == expected
    except StorageError:
        return False


def make_decoder(room: Room) -> None:
    """Train, measure and write the decoder."""
    form, document_count, texts = read_texts(room)
    material = prepare(texts, form.tokens, room.settings)
    lessons = Lessons(material.lessons(material.train), material.lessons(material.dev), int(material.tokenizer.pad_token_id))
    model = start_model(room, material, lessons)
    pace = Pace()
    losses = run_training(room, model, lessons, pace)
    trained = Trained(materialise(model), losses, pace)
    description = describe(room, material, lessons, trained, document_count, write_some(trained.model, material, form))

    def write_model(folder: Path) -> None:
        trained.model.save_pretrained(folder)
        material.tokenizer.save_pretrained(folder)

    rows = pl.DataFrame([asdict(loss) for loss in losses])
    rows = rows.with_columns(system=pl.lit("decoder"), component=pl.lit("decoder"), seed=pl.lit(room.settings.seed))
    save_decoder(room.folder, write_model, description, write_card(description), rows)
    drop_checkpoint(room.run.root_path, room.run.run_id)


def read_texts(room: Room) -> tuple[CompactForm, int, list[AnnotatedText]]:
    """How texts are written, how many train documents there are, and usable traces of them as compact texts."""
    tables = room.inputs.tables
    labels = read_table(tables["core_labels"], ["label_id", "label_uid", "label_name"])
    form = CompactForm(
        label_tokens(dict(labels.select("label_id", "label_uid").iter_rows())),
        dict(labels.select("label_id", "label_name").iter_rows()),
        room.settings.document_words,
        room.settings.evidence_words,
    )
    traces = read_chosen(room)
    train = scan_table(tables["core_documents"]).filter(pl.col("split") == "train")
    chosen = train.join(traces.traces.lazy(), on="document_id", how="semi").select("document_id", "document_text").collect()
    texts = usable_texts(traces, dict(chosen.iter_rows()), form, nearest_by(open_index(room)))
    return form, train.select(pl.len()).collect().item(), list(texts)


def read_chosen(room: Room) -> TraceTables:
    """Whole traces of train documents; of more than the training can see once, as many as it can, drawn by the seed."""
    tables, settings = room.inputs.tables, room.settings
    traces = whole_traces(read_table(tables["core_traces"])).filter(pl.col("split") == "train")
    most = math.ceil(settings.train_steps * settings.batch_size / (1 - min(settings.dev_frac, MOST_DEV_FRAC)))
    if len(traces) > most:
        traces = traces.sample(most, seed=settings.seed)
    chosen = traces.lazy().select("trace_id")
    parts = [tables[f"core_{name}"] for name in ("shortlist", "steps", "answers")]
    return TraceTables(traces, *(scan_table(ref).join(chosen, on="trace_id", how="semi").collect() for ref in parts))


def open_index(room: Room) -> LabelIndex:
    """The published label index."""
    return open_label_index(room.run, room.inputs.artifacts["label_index"], room.inputs.tables["core_labels"])


def start_model(room: Room, material: Material, lessons: Lessons) -> FactorisedDecoder:
    """An untrained decoder on the device it is trained on.

    Raises:
        ConfigError: the settings ask for a device that is not there.
    """
    embedder = open_embedder(room.run, room.embed, room.embed.label_tokens)
    words = embedder.embed(material.vocabulary.words, log_progress("words embedded"))
    vectors = token_vectors(open_index(room).vectors_of(material.vocabulary.label_ids), words)
    longest = max(len(lesson.token_ids) for lesson in (*lessons.train, *lessons.dev))
    return new_decoder(room.settings, vectors, longest).to(choose_device(room.settings.device, "decoder"))


@dataclass
class Pace:
    """CPU seconds of a training in this process, and steps done in them."""

    cpu_s: float = 0.0
    step_count: int = 0


def run_training(room: Room, model: FactorisedDecoder, lessons: Lessons, pace: Pace) -> tuple[StepLoss, ...]:
    """Train from the furthest checkpoint there is, keeping checkpoints; the losses of all steps."""
    root, run_id = room.run.root_path, room.run.run_id
    kept = find_checkpoint(root, run_id, room.fingerprint)
    state = unpack_state(kept) if kept else None
    if state:
        logger.info("decoder: goes on from step %d of %d", state.step, room.settings.train_steps)
    started = time.process_time()
    losses = train(
        model,
        lessons,
        room.settings,
        state,
        lambda reached: save_checkpoint(root, run_id, room.fingerprint, pack_state(reached)),
        log_progress("decoder training steps"),
    )
    pace.cpu_s = time.process_time() - started
    pace.step_count = room.settings.train_steps - (state.step if state else 0)
    return losses


@dataclass(frozen=True)
class Trained:
    """A trained decoder as a plain model, its losses, and how fast it was trained."""

    model: "LlamaForCausalLM"
    losses: tuple[StepLoss, ...]
    pace: Pace


@dataclass(frozen=True)
class Written:
    """Traces that a decoder wrote: how many, how many keep the form, and tokens a CPU second."""

    document_count: int
    whole_count: int
    tokens_per_cpu_s: float


def write_some(model: "LlamaForCausalLM", material: Material, form: CompactForm) -> Written:
    """Traces of some development documents, on the CPU."""
    texts = material.dev[:FORMAT_COUNT]
    tokenizer = material.tokenizer
    prompts = tokenizer([text.text[: text.document.end] for text in texts], add_special_tokens=False)["input_ids"]
    started = time.process_time()
    ids = continue_greedily(model, prompts, int(tokenizer.pad_token_id), int(tokenizer.eos_token_id), MOST_WRITTEN, FORMAT_BATCH)
    pace = sum(map(len, ids)) / max(time.process_time() - started, 1e-9)
    whole = sum(read_compact(str(tokenizer.decode(one)), form.label_ids).is_whole for one in ids)
    return Written(len(texts), whole, pace)


def describe(
    room: Room, material: Material, lessons: Lessons, trained: Trained, document_count: int, written: Written
) -> DecoderDescription:
    """What `decoder.json` says."""
    last = max(loss.train_step for loss in trained.losses)
    dev = {loss.loss_name: loss.loss_nats for loss in trained.losses if loss.train_step == last}
    lengths = [len(lesson.token_ids) for lesson in lessons.train]
    tokens = sum(lengths) / len(lengths) * min(room.settings.batch_size, len(lengths)) * trained.pace.step_count
    unknown = sum(int((lesson.token_ids == material.tokenizer.unk_token_id).sum()) for lesson in lessons.train)
    return DecoderDescription(
        dataset=room.run.dataset,
        run_id=room.run.run_id,
        fingerprint=room.fingerprint,
        settings=room.settings,
        embedder=room.embed.model,
        label_count=len(material.vocabulary.label_ids),
        word_count=len(material.vocabulary.words),
        token_count=len(material.vocabulary.tokens),
        body_parameter_count=sum(weight.numel() for weight in trained.model.model.layers.parameters()),
        parameter_count=sum(weight.numel() for weight in trained.model.parameters()),
        document_count=len(lengths),
        left_out_count=document_count - len(lengths) - len(material.dev),
        dev_document_ids=tuple(sorted(text.document_id for text in material.dev)),
        unknown_frac=unknown / sum(lengths),
        dev_losses={name.removeprefix("dev_"): nats for name, nats in dev.items() if name.startswith("dev_")},
        format_frac=written.whole_count / written.document_count,
        format_document_count=written.document_count,
        train_cpu_s=trained.pace.cpu_s,
        tokens_per_cpu_s=tokens / max(trained.pace.cpu_s, 1e-9),
        written_tokens_per_cpu_s=written.tokens_per_cpu_s,
    )
