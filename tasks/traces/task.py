"""Ask the teacher about every document, and serve the stand-in teacher. Read, call, write; keys come from the environment."""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, TeacherConfig
from schemas.errors import ConfigError, FatalTeacherError
from schemas.refs import RunRef, StageInputs, StageResult
from schemas.tables import RAW_TRACES
from tasks.labels.lexical import LexicalIndex
from tasks.labels.progress import log_progress
from tasks.labels.search import LabelIndex
from tasks.labels.task import open_embedder, open_label_index
from tasks.traces.endpoints import STAND_IN, Endpoint, asked_endpoint, check_settings
from tasks.traces.process import ADDRESS, running_server
from tasks.traces.prompts import Prompt
from tasks.traces.questions import candidate_prompts, chosen_documents, open_prompts
from tasks.traces.requests import (
    Answer,
    TraceRequest,
    asking_cost,
    make_request,
    refuse_failures,
    trace_rows,
    unanswered,
)
from tasks.traces.stand_in.brief import edge_rows, stand_in_name, train_targets
from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors, cooccurrence_edges, unique_names
from tasks.traces.stand_in.server import Manner, StandInServer
from tasks.traces.stand_in.thinking import StandIn, known_documents
from warehouse.journal import Journal, open_journal
from warehouse.layout import artifact_path, journal_path
from warehouse.parquet import read_table, write_table
from warehouse.stand_in_files import BriefSettings, log_tail, open_log, read_brief, read_knowledge, write_brief

logger = logging.getLogger(__name__)

WORD_TEXTS = 50_000
"""Texts the stand-in learns its words from, at most."""

PROJECT = str(Path(__file__).parents[2])


@task(cache_policy=NO_CACHE)
def generate_traces(run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig) -> StageResult:
    """`core_documents` -> `raw_traces`: one answer or error a document; what the journal holds is not asked again.

    Raises:
        ConfigError: a setting cannot work, or the key is not in the environment; nothing was asked.
        FatalTeacherError: no request can succeed; answers so far are in the journal.
        TeacherError: more than `max_error_frac` of the requests failed; answers are in the journal.
        StorageError: the data root cannot be written, or another run is asking for this dataset.
    """
    started = time.monotonic()
    check_teacher(teacher)
    brief = write_stand_in_brief(run, inputs, teacher, embed) if teacher.base_url == STAND_IN else None
    endpoint = asked_endpoint(teacher, brief[0] if brief else None)
    requests = make_requests(run, inputs, endpoint, teacher, embed)
    keys = {request.request_hash for request in requests}
    with open_journal(journal_path(run.root_path, run.dataset)) as journal:
        missing = unanswered(requests, read_answers(journal, keys))
        if missing:
            with teacher_address(teacher, brief[1] if brief else None) as address:
                ask_missing(journal, missing, endpoint, teacher, address)
        answers = read_answers(journal, keys)
    sent = [answers[request.request_hash] for request in missing]
    logger.info(
        "traces: %d documents, %d requests, %d sent, %.1f s", len(requests), len(keys), len(sent), time.monotonic() - started
    )
    refuse_failures([answers[key] for key in sorted(keys)], teacher.max_error_frac)
    table = write_table(run, "trace", RAW_TRACES, trace_rows(run.dataset, requests, answers))
    is_complete = not unanswered(requests, answers)
    return StageResult(tables=(table,), cost=asking_cost(sent, len(requests)), is_complete=is_complete)


def check_teacher(teacher: TeacherConfig) -> None:
    """Refuse settings that cannot work, or a key that is missing, before anything else is done.

    Raises:
        ConfigError: names the setting or the variable, and what it may be.
    """
    check_settings(teacher, has_key=bool(os.environ.get(teacher.api_key_env)))


def make_requests(
    run: RunRef, inputs: StageInputs, endpoint: Endpoint, teacher: TeacherConfig, embed: EmbedConfig
) -> list[TraceRequest]:
    """One request a document, train and test."""
    labels = read_table(inputs.tables["core_labels"])
    documents = chosen_documents(read_table(inputs.tables["core_documents"]), teacher.max_documents)
    texts = documents["document_text"].to_list()
    if endpoint.prompt_kind == "open":
        prompts: Sequence[Prompt] = open_prompts(texts, labels)
    else:
        index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
        vectors = open_embedder(run, embed, embed.document_tokens).embed(texts, log_progress("documents embedded"))
        relevance = read_table(inputs.tables["core_relevance"])
        prompts = candidate_prompts(documents, vectors, index, labels, relevance, teacher.candidate_count)
    asked = zip(documents.select("document_id", "split").iter_rows(), prompts, strict=True)
    return [make_request(endpoint, document_id, split, prompt) for (document_id, split), prompt in asked]


def read_answers(journal: Journal, keys: set[str]) -> dict[str, Answer]:
    """The journal's newest answers to these requests."""
    return {key: Answer.model_validate_json(line) for key, line in journal.read(keys).items()}


def ask_missing(
    journal: Journal, missing: Sequence[TraceRequest], endpoint: Endpoint, teacher: TeacherConfig, address: str
) -> None:
    """Ask, and have every answer on disk before it counts.

    Raises:
        FatalTeacherError: no request can succeed.
        StorageError: an answer could not be stored.
    """
    # only here: 1 s of imports that a rerun and the stand-in do without
    from tasks.traces.asking import ask_all
    from tasks.traces.client import AskRules, Prices, Teacher, open_client
    from tasks.traces.progress import AskingProgress

    rules = AskRules(teacher.concurrency, teacher.max_attempts, teacher.timeout_s or float("inf"), teacher.retry_pause_s)
    prices = Prices(teacher.prompt_usd_per_million, teacher.completion_usd_per_million)
    key = os.environ.get(teacher.api_key_env) or "none"
    secret = "none" if teacher.base_url == STAND_IN else key

    async def ask(progress: AskingProgress) -> None:
        def keep(answers: Sequence[Answer]) -> None:
            journal.append([answer.model_dump_json() for answer in answers])
            progress.add(answers)

        async with open_client(address, secret, rules) as client:
            hidden = [secret] if secret != "none" else []
            await ask_all(Teacher(client, endpoint, rules, prices, hidden), missing, teacher.concurrency, keep)

    with AskingProgress(len(missing)) as progress:
        asyncio.run(ask(progress))


@contextmanager
def teacher_address(teacher: TeacherConfig, brief: Path | None) -> Iterator[str]:
    """The base URL to ask at; a stand-in is started for the block and ends with it, or with us.

    Raises:
        FatalTeacherError: the stand-in did not start, or ended while it was asked; with its last words.
    """
    if brief is None:
        yield teacher.base_url
        return
    serve = f"from tasks.traces.task import serve_stand_in; serve_stand_in({str(brief)!r}, is_watched=True)"
    paths = os.pathsep.join(path for path in (PROJECT, os.environ.get("PYTHONPATH")) if path)
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths}
    with open_log(brief) as log:
        try:
            with running_server([sys.executable, "-c", serve], environment, log) as server:
                yield f"{server.address}/v1"
        except FatalTeacherError as exc:
            raise FatalTeacherError(f"{exc}{log_tail(brief)}") from exc


def write_stand_in_brief(run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig) -> tuple[str, Path]:
    """Write what the stand-in is told for this run; its model name and the folder.

    Raises:
        ConfigError: the knowledge file cannot be read or is of another label set.
        StorageError: the data root cannot be written.
    """
    labels, documents = read_table(inputs.tables["core_labels"]), read_table(inputs.tables["core_documents"])
    targets = train_targets(documents, read_table(inputs.tables["core_relevance"]))
    source = teacher.stand_in.knowledge
    edges = (
        edge_rows(labels, read_knowledge(Path(source)), source)
        if source
        else cooccurrence_edges(targets.filter(~pl.col("is_filtered")))
    )
    # every document has a vector before the server needs it
    open_embedder(run, embed, embed.document_tokens).embed(
        documents["document_text"].to_list(), log_progress("documents embedded")
    )
    model = stand_in_name(teacher.stand_in, embed, labels, (targets, edges))
    settings = BriefSettings(
        run=run,
        labels=inputs.tables["core_labels"],
        documents=inputs.tables["core_documents"],
        index=inputs.artifacts["label_index"],
        embed=embed,
        stand_in=teacher.stand_in,
        model=model,
    )
    path = artifact_path(run.root_path, run.run_id, "trace", "stand_in")
    write_brief(path, settings, targets, edges)
    return model, path


def serve_stand_in(brief: str, host: str = "127.0.0.1", port: int = 0, is_watched: bool = False) -> None:
    """Serve the stand-in teacher until it is stopped; the first line it writes holds its address.

    Args:
        brief: the folder `write_stand_in_brief` wrote.
        host: address to serve on.
        port: port to serve on; 0 takes a free one.
        is_watched: end when standard input does, so that the server does not outlive who started it.

    Raises:
        ConfigError: the port is taken.
        StorageError: the brief, the index or the embeddings cannot be read.
    """
    import uvicorn

    if is_watched:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as exc:
            raise ConfigError(f"cannot serve on {host}:{port}: {exc.strerror}; choose another port, or 0 for a free one") from exc
        app = load_server(Path(brief)).app()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=75, backlog=4096))
        listener.listen(4096)
        sys.stdout.write(f"{ADDRESS}http://{host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        server.run(sockets=[listener])


def _end_with_stdin() -> None:
    while os.read(0, 1 << 16):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os._exit(0)


def load_server(brief: Path) -> StandInServer:
    """The stand-in with all it is told, ready to serve."""
    settings, targets, edges = read_brief(brief)
    run, config = settings.run, settings.stand_in
    index = open_label_index(run, settings.index, settings.labels)
    names = names_by_row(index, read_table(settings.labels, ["label_id", "label_name"]))
    embedder = open_embedder(run, settings.embed, settings.embed.document_tokens)
    is_train = pl.col("split") == "train"
    texts = (
        read_table(settings.documents, ["split", "document_text"]).filter(is_train).head(WORD_TEXTS)["document_text"].to_list()
    )
    first, second = index.rows_of(edges["a"].to_numpy()), index.rows_of(edges["b"].to_numpy())
    thinker = StandIn(
        index,
        names,
        LexicalIndex(index.label_ids, names),
        LabelGraph(index.size, first, second, edges["weight"].to_numpy()),
        WordVectors([*names[:WORD_TEXTS], *texts], np.concatenate([index.vectors[:WORD_TEXTS], embedder.embed(texts)])),
        known_documents(targets),
        embedder.embed,
        config,
    )
    manner = Manner(settings.model, config.answer_format, config.seed, config.faults)
    return StandInServer(thinker.think, unique_names(names), manner)


def names_by_row(index: LabelIndex, labels: pl.DataFrame) -> list[str]:
    """Label names in the order of the index's rows."""
    names = dict(labels.select("label_id", "label_name").iter_rows())
    return [names[label_id] for label_id in index.label_ids.tolist()]
