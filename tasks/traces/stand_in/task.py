"""Serve the stand-in teacher: its brief written, its server started, its address known. Read, call, write."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from schemas.config import EmbedConfig, TeacherConfig
from schemas.errors import ConfigError, FatalTeacherError
from schemas.refs import RunRef, StageInputs
from tasks.labels.lexical import LexicalIndex
from tasks.labels.progress import log_progress
from tasks.labels.search import LabelIndex
from tasks.labels.task import open_embedder, open_label_index
from tasks.traces.process import ADDRESS, running_server
from tasks.traces.stand_in.brief import edge_rows, stand_in_name, train_targets
from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors, cooccurrence_edges, unique_names
from tasks.traces.stand_in.server import Manner, StandInServer
from tasks.traces.stand_in.serving import stand_in_app
from tasks.traces.stand_in.thinking import StandIn, known_documents
from warehouse.layout import artifact_path
from warehouse.parquet import read_table
from warehouse.stand_in_files import BriefSettings, log_tail, open_log, read_brief, read_knowledge, write_brief

logger = logging.getLogger(__name__)

WORD_TEXTS = 50_000
"""Texts the stand-in learns its words from, at most."""

PROJECT = str(Path(__file__).parents[3])


@contextmanager
def teacher_address(teacher: TeacherConfig, brief: Path | None) -> Iterator[str]:
    """The base URL to ask at; a stand-in is started for the block and ends with it, or with us.

    Raises:
        FatalTeacherError: the stand-in did not start, or ended while it was asked; with its last words.
    """
    if brief is None:
        yield teacher.base_url
        return
    serve = f"from tasks.traces.stand_in.task import serve_stand_in; serve_stand_in({str(brief)!r}, is_watched=True)"
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
        app = stand_in_app(load_server(Path(brief)))
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
    name_vectors = index.vectors_at(range(min(WORD_TEXTS, index.size)))
    first, second = index.rows_of(edges["a"].to_numpy()), index.rows_of(edges["b"].to_numpy())
    thinker = StandIn(
        index,
        names,
        LexicalIndex(index.label_ids, names),
        LabelGraph(index.size, first, second, edges["weight"].to_numpy()),
        WordVectors([*names[:WORD_TEXTS], *texts], np.concatenate([name_vectors, embedder.embed(texts)])),
        known_documents(targets),
        embedder.embed,
        config,
    )
    manner = Manner(
        settings.model, config.answer_format, config.seed, config.faults, config.structured_output, config.reasoning_field,
        config.flip_rate,
    )  # fmt: skip
    return StandInServer(thinker.think, unique_names(names), manner)


def names_by_row(index: LabelIndex, labels: pl.DataFrame) -> list[str]:
    """Label names in the order of the index's rows."""
    names = dict(labels.select("label_id", "label_name").iter_rows())
    return [names[label_id] for label_id in index.label_ids.tolist()]
