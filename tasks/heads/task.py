"""Attention heads of a decoder: scored on train documents, patched and followed on test documents."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, HeadsConfig
from schemas.errors import EmptyTargetError
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.stages import STAGES
from schemas.tables import TABLES
from tasks.heads.corruption import Corruptor, filler_id
from tasks.heads.dynamics import dynamics_rows, follow_heads, late_minus_early, top_heads
from tasks.heads.effects import effect_rows
from tasks.heads.generation import generate_block
from tasks.heads.insets import choose_document, inset_rows
from tasks.heads.patch_plan import PatchPlan, plan_patches, plan_sets
from tasks.heads.patch_verdicts import patch_verdicts
from tasks.heads.patching import BLOCK_DOCUMENTS, patch_block
from tasks.heads.summaries import Summary, document_rows, head_profiles, head_scores, read_scores
from tasks.heads.verdicts import Verdict, dynamics_verdicts, order_verdicts
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder
from tasks.open_models.documents import (
    ReadDocuments,
    draw_documents,
)
from tasks.open_models.models import ModelRef
from tasks.open_models.near import near_vectors
from tasks.open_models.own_traces import TRACK, own_trajectories
from tasks.open_models.scores import score_documents
from tasks.open_models.spoken import Meaning, SpokenForm, compact_form, text_form
from tasks.open_models.task import Room, open_room
from tasks.sequences.tokens import TokenSequence
from warehouse.head_blocks import HeadBlocks, open_blocks
from warehouse.parquet import read_table, write_table
from warehouse.published import fingerprint, hash_code

logger = logging.getLogger(__name__)

SCORE_BLOCK = 32
"""Documents whose scores are stored together: what a kill costs at most."""

PATCH_POOL = 2000
"""Test documents that the patched ones are chosen from, and their label family; more are not read."""

SCORE_SETTINGS = {"prompt_text", "max_tokens", "precision", "score_documents", "seed"}
"""Settings that shape the scores of a document; the others leave stored scores as they are."""


@task(cache_policy=NO_CACHE)
def measure_heads(run: RunRef, inputs: StageInputs, model: ModelRef, heads: HeadsConfig, embed: EmbedConfig) -> StageResult:
    """Scores of every head, and what patching the highest scored ones does, beside as many random and low-ranked ones.

    Scoring and patching go on after the last stored block of the same model, settings and inputs.

    Raises:
        ConfigError: the model cannot be loaded, or a bin is larger than half of its heads.
        ModelRefusedError: its heads or its tokenizer cannot be measured.
        EmptyTargetError: too few documents, or none with anchors, a shortlist and a refinement.
    """
    started = time.monotonic()
    room = open_room(run, inputs, model, heads, embed)
    rows = score_heads(room, open_blocks(run.root_path, run.dataset, score_key(run, inputs, model, heads)))
    table = read_scores(rows)
    scores = head_scores(table, heads.bootstrap_count, heads.seed)
    profiles = head_profiles(table, heads.bootstrap_count, heads.seed)
    tested = read_test_documents(room)
    plan = plan_patches(tested.sequences, room.index, corruptor(room), heads)
    blocks = open_blocks(run.root_path, run.dataset, [fingerprint(run, STAGES["heads"], inputs, model.content_hash)])
    spoken = open_meaning(room, plan, tested.sequences)
    values = patch_heads(room, plan, scores, spoken, blocks)
    patched = patched_sequences(plan)
    followed, dynamics = follow(room, patched, scores)
    verdicts = [*order_verdicts(profiles, scores), *dynamics, *patch_verdicts(values, plan, heads)]
    frames = {
        "core_head_document_scores": rows,
        "core_head_scores": scores,
        "core_head_profiles": frame_of(profiles),
        "core_patch_effects": effect_rows(values, heads),
        "core_attention_insets": inset(room, patched, scores),
        "core_trajectories": pl.concat([followed, blocks.take("own-traces", lambda: write_traces(room, patched, spoken))]),
        "out_verdicts": frame_of(verdicts),
    }
    tables = tuple(
        write_table(run, "heads", TABLES[name], TABLES[name].conform(named(frame, run, model))) for name, frame in frames.items()
    )
    blocks.drop()
    logger.info(
        "heads: %s, %d heads, scored on %d train documents, patched on %d of %d test documents, %.1f s",
        model.name, len(scores), len(table.document_ids), len(patched), len(tested.sequences), time.monotonic() - started,
    )  # fmt: skip
    return StageResult(tables=tables, cost=StageCost(rows_in_count=len(table.document_ids) + len(tested.sequences)))


def score_key(run: RunRef, inputs: StageInputs, model: ModelRef, heads: HeadsConfig) -> list[str]:
    """What the scores of documents are made from."""
    tables = [ref.content_hash for ref in inputs.tables.values()]
    hashes = sorted(tables + [ref.content_hash for ref in inputs.artifacts.values()])
    code = hash_code(("tasks.heads", "tasks.open_models", "tasks.sequences", "tasks.labels", "schemas"))
    settings = json.dumps(heads.model_dump(mode="json", include=SCORE_SETTINGS), sort_keys=True)
    return ["scores", code, model.content_hash, settings, *hashes]


def score_heads(room: Room, blocks: HeadBlocks) -> pl.DataFrame:
    """Scores of every head on every drawn train document, block by block; never of a test document.

    Raises:
        EmptyTargetError: no train document has a trace that may be scored.
    """
    settings = room.settings
    chosen = draw_documents(room.texts.traces.traces, "train", settings.score_documents, settings.seed, room.dev_document_ids)
    if not chosen:
        raise EmptyTargetError("no train document that the model was not trained on has a whole trace, so no head can be scored")
    found = room.read(chosen)
    logger.info("heads: %d train documents, not located: %s, %d cut off", len(chosen), found.unlocated, found.cut_count)
    progress = log_progress("documents scored")
    frames = []
    for start in range(0, len(chosen), SCORE_BLOCK):
        part = found.sequences[start : start + SCORE_BLOCK]
        frames.append(blocks.take(f"scores-{start // SCORE_BLOCK:06}", partial(score_block, room, part)))
        progress(start + len(part), len(chosen))
    return pl.concat(frames)


def score_block(room: Room, sequences: Sequence[TokenSequence]) -> pl.DataFrame:
    """Scores of some documents."""
    return pl.concat(
        document_rows(score_documents(rows), [one.document_id for one in chosen]) for chosen, rows in room.measure(sequences)
    )


def read_test_documents(room: Room) -> ReadDocuments:
    """Test documents with traces, from which those that are patched are chosen."""
    chosen = draw_documents(room.texts.traces.traces, "test", PATCH_POOL, room.settings.seed)
    found = room.read(chosen)
    logger.info("heads: %d test documents, not located: %s, %d cut off", len(chosen), found.unlocated, found.cut_count)
    return found


def corruptor(room: Room) -> Corruptor:
    """How documents are corrupted; a filler token is looked up only if one is used."""
    kind = room.settings.corruption
    return Corruptor(kind, filler_id(room.loaded.tokenizer) if kind == "mask" else 0, room.settings.seed)


def patched_sequences(plan: PatchPlan) -> list[TokenSequence]:
    """The documents that are patched in some phase, each once, by id."""
    found = {case.sequence.document_id: case.sequence for cases in plan.cases.values() for case in cases}
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True)
class Spoken:
    """How generated text is read, and what it means."""

    form: SpokenForm
    meaning: Meaning


def open_meaning(room: Room, plan: PatchPlan, sequences: Sequence[TokenSequence]) -> Spoken:
    """Vectors of the patched documents and their near misses, and how what is generated is read."""
    tokenizer = room.loaded.tokenizer
    form = compact_form(tokenizer, room.form, sequences) if room.form else text_form(tokenizer, sequences)
    names = [one.document_id for one in patched_sequences(plan)]
    documents = open_embedder(room.run, room.embed, room.embed.document_tokens)
    vectors = documents.embed([room.texts.documents[name] for name in names])
    near = near_vectors(read_table(room.inputs.tables["core_relevance"]), names, room.index, room.settings.near_miss_count)
    steps = open_embedder(room.run, room.embed, room.embed.label_tokens)
    return Spoken(form, Meaning(dict(zip(names, vectors, strict=True)), near, steps.embed))


def patch_heads(room: Room, plan: PatchPlan, scores: pl.DataFrame, spoken: Spoken, blocks: HeadBlocks) -> pl.DataFrame:
    """Margins, and Focus or Confusion of what is generated, of every patched document under every set of heads."""
    sets, settings, model, parts = plan_sets(scores, room.settings), room.settings, room.loaded.model, room.loaded.parts
    every = list(plan.blocks(BLOCK_DOCUMENTS))
    progress = log_progress("blocks of documents patched")
    frames = []
    for done, block in enumerate(every, 1):
        chosen, name = sets[block.phase], f"{block.phase}-{block.number:06}"

        margins = partial(patch_block, model, parts, block, chosen, settings)
        steps = partial(generate_block, model, parts, block, chosen, spoken.form, spoken.meaning, settings)
        frames += [blocks.take(f"margin-{name}", margins), blocks.take(f"steps-{name}", steps)]
        progress(done, len(every))
    return pl.concat(frames)


def follow(room: Room, sequences: Sequence[TokenSequence], scores: pl.DataFrame) -> tuple[pl.DataFrame, list[Verdict]]:
    """The top refinement heads along the patched documents: rows of `core_trajectories`, and what they say."""
    settings = room.settings
    heads = top_heads(scores, "refine_score", settings.dynamics_heads)
    found = [one for chosen, rows in room.measure(sequences) for one in follow_heads(rows, chosen, heads)] if heads else []
    rows = pl.DataFrame(dynamics_rows(found, settings.positions), schema=TRACK, orient="row")
    return rows, dynamics_verdicts(late_minus_early(found), len(heads), settings.bootstrap_count, settings.seed)


def write_traces(room: Room, sequences: Sequence[TokenSequence], spoken: Spoken) -> pl.DataFrame:
    """Focus and Confusion along the traces that the model writes itself of the patched documents."""
    return own_trajectories(room.loaded, sequences, spoken.form, spoken.meaning, room.settings)


def inset(room: Room, sequences: Sequence[TokenSequence], scores: pl.DataFrame) -> pl.DataFrame:
    """Attention of the top head of each phase over one patched document; nothing if none has all there is to see."""
    chosen = choose_document(sequences)
    if chosen is None:
        return TABLES["core_attention_insets"].empty().drop("dataset", "model")
    return inset_rows(room.loaded.parts, chosen, scores, room.loaded.tokenizer, room.loaded.device)


def frame_of(rows: Iterable[Summary | Verdict]) -> pl.DataFrame:
    """Dataclasses as rows."""
    return pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None)


def named(frame: pl.DataFrame, run: RunRef, model: ModelRef) -> pl.DataFrame:
    """With the columns that name dataset, run and model."""
    names = {"dataset": run.dataset, "run_id": run.run_id, "model": model.name, "system": model.name}
    return frame.with_columns([pl.lit(value).alias(name) for name, value in names.items()])
