"""Ask the teacher about every document, or say what that would take. Read, call, write; keys come from the environment."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, TeacherConfig
from schemas.errors import ConfigError, SchemaRefusedError, TeacherError
from schemas.refs import RetryRules, RunRef, StageInputs, StageResult
from schemas.tables import RAW_TRACES
from tasks.labels.embedder import label_text
from tasks.labels.lexical import Bm25Index, LexicalIndex, wording_index
from tasks.labels.progress import log_progress
from tasks.labels.retrieval import Retriever
from tasks.labels.task import open_embedder, open_label_index
from tasks.traces.answers import may_pass
from tasks.traces.batch import Quota, Tally, batch_lines, batched, by_custom_id, read_results
from tasks.traces.endpoints import STAND_IN, Endpoint, asked_endpoint, check_settings
from tasks.traces.estimate import Workload, describe, estimate
from tasks.traces.learning import LADDER, LAST_FORM, PROBES, is_followed
from tasks.traces.ledger import Ledger
from tasks.traces.money import Budget, prices_of
from tasks.traces.plan import Plan
from tasks.traces.process import allow_connections
from tasks.traces.questions import Questions, Retrieval, chosen_documents, left_out_labels
from tasks.traces.requests import TraceRequest
from tasks.traces.rows import Spending, count_failures, in_parts, refuse_failures, stage_cost, trace_rows
from tasks.traces.stand_in.task import teacher_address, write_stand_in_brief
from warehouse.batch_files import read_batch_results, write_batch_files
from warehouse.journal import Journal, open_journal
from warehouse.layout import batch_dir, journal_path
from warehouse.parquet import read_table, write_table_parts
from warehouse.server_memory import forget_form, remember_form, remembered_form

if TYPE_CHECKING:
    from tasks.traces.progress import AskingProgress

logger = logging.getLogger(__name__)

ROWS_PER_PART = 2000
"""Rows of `raw_traces` held in memory at once."""

COMPACT_FROM = 1000
"""Answers from which a finished journal is worth a Parquet file of its own."""

RESULTS_PER_WRITE = 500
"""Batch results that are stored together."""

WORKERS_PER_SLOT = 2
"""Requests under way for each that may be in flight: those that pause before their next attempt hold no slot."""


@task(cache_policy=NO_CACHE)
def generate_traces(
    run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig, retry: RetryRules | None = None
) -> StageResult:
    """`core_documents` -> `raw_traces`: one answer or error a document; what the journal holds is not asked again.

    Raises:
        ConfigError: a setting cannot work, or the key is not in the environment; nothing was asked.
        FatalTeacherError: no request can succeed; answers so far are in the journal.
        BudgetSpentError: `max_usd` might be passed; answers so far are in the journal.
        TeacherError: more than `max_error_frac` of the requests failed; answers are in the journal.
        StorageError: the data root cannot be written, or another run is asking for this dataset.
    """
    started = time.monotonic()
    with open_session(run, inputs, teacher, embed, retry) as session:
        plan = session.plan(session.form())
        session.ask(plan.first_wave(), plan.row_count)
        session.ask(plan.second_wave(session.ledger.read), plan.row_count)
        result = session.publish(plan)
    sent = session.ledger.sent
    logger.info(
        "traces: %d rows, %d requests, %d sent, %d failed, %.1f s",
        result.tables[0].row_count, result.cost.total_request_count, sent.request_count, sent.failed_count,
        time.monotonic() - started,
    )  # fmt: skip
    return result


def check_teacher(teacher: TeacherConfig) -> None:
    """Refuse settings that cannot work, or a key that is missing, before anything else is done.

    Raises:
        ConfigError: names the setting or the variable, and what it may be.
    """
    check_settings(teacher, has_key=bool(os.environ.get(teacher.api_key_env)))
    allow_connections(teacher.concurrency)


@task(cache_policy=NO_CACHE)
def estimate_traces(
    run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig, retry: RetryRules | None = None
) -> list[tuple[str, str]]:
    """What asking the rest will take, as lines of a name and what is known; nothing is asked.

    Raises:
        ConfigError: a setting cannot work.
    """
    with open_session(run, inputs, teacher, embed, retry) as session:
        work = Workload()
        plan = session.plan(session.known_form() or LADDER[0])
        for wave in (plan.first_wave(), plan.second_wave(session.ledger.read)):
            for chunk in wave:
                work.add(chunk, session.ledger.wanted(chunk))
        work.add_unmade(len(plan.unaskable))
        answers = session.ledger.read([request.request_hash for request in work.answered])
        return describe(estimate(work, answers, teacher, prices_of(teacher)), teacher)


@task(cache_policy=NO_CACHE)
def write_batches(
    run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig, folder: str | None = None
) -> list[tuple[str, str]]:
    """Write what is not answered yet as OpenAI batch files; lines of a name and what was written.

    Raises:
        ConfigError: a setting cannot work, or the form of answers is not known yet.
        StorageError: the folder holds results, or cannot be written.
    """
    with open_session(run, inputs, teacher, embed, None) as session:
        plan = session.plan(session.form_of_batches())
        prices = prices_of(teacher, teacher.batch_price_factor)
        quota = Quota(teacher, prices, session.ledger.spent_usd)
        waves = chain(plan.first_wave(), plan.second_wave(session.ledger.read))
        requests = quota.within(request for wanted, _ in session.ledger.missing(waves) for request in wanted)
        place = Path(folder) if folder else batch_dir(run.root_path, run.dataset)
        paths = write_batch_files(place, batch_lines(session.endpoint, requests))
    return quota.describe([str(path) for path in paths], len(plan.unaskable))


@task(cache_policy=NO_CACHE)
def read_batches(
    run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig, folder: str | None = None
) -> list[tuple[str, str]]:
    """Read the results of batch files into the journal; lines of a name and what was read.

    Raises:
        ConfigError: a setting cannot work, or the form of answers is not known.
        StorageError: there are no results, or they cannot be read or stored; what was stored stays.
    """
    with open_session(run, inputs, teacher, embed, None) as session:
        ledger, plan = session.ledger, session.plan(session.form_of_batches())
        waves = chain(plan.first_wave(), plan.second_wave(ledger.read))
        requests = by_custom_id(request for chunk in waves for request in chunk)
        open_count = sum(not ledger.is_answered(key) for key in requests)
        lines = read_batch_results(Path(folder) if folder else batch_dir(run.root_path, run.dataset))
        tally = Tally()
        prices = prices_of(teacher, teacher.batch_price_factor)
        answers = read_results(lines, requests, session.endpoint, prices, tally, ledger.is_answered)
        for part in batched(answers, RESULTS_PER_WRITE):
            ledger.keep(part)
            ledger.flush()
    return [*tally.describe(open_count), ("next", f"ctd trace {run.dataset}: writes raw_traces, and asks what has no result")]


@contextmanager
def open_session(
    run: RunRef, inputs: StageInputs, teacher: TeacherConfig, embed: EmbedConfig, retry: RetryRules | None
) -> Iterator["Session"]:
    """Everything that asking needs, with the journal locked for the block.

    Raises:
        ConfigError: a setting cannot work, or the key is not in the environment.
        StorageError: the data root cannot be written, or another run is asking for this dataset.
    """
    check_teacher(teacher)
    brief = write_stand_in_brief(run, inputs, teacher, embed) if teacher.base_url == STAND_IN else None
    endpoint = asked_endpoint(teacher, brief[0] if brief else None)
    with open_journal(journal_path(run.root_path, run.dataset)) as journal, ExitStack() as servers:
        yield Session(run, inputs, teacher, embed, endpoint, brief[1] if brief else None, journal, retry or RetryRules(), servers)


class Session:
    """One run of asking: the endpoint, the ledger of what was asked, the server's address once it is needed."""

    def __init__(
        self,
        run: RunRef,
        inputs: StageInputs,
        teacher: TeacherConfig,
        embed: EmbedConfig,
        endpoint: Endpoint,
        brief: Path | None,
        journal: Journal,
        retry: RetryRules,
        servers: ExitStack,
    ) -> None:
        """Take what `open_session` opened."""
        self._run, self._inputs, self._teacher, self._embed = run, inputs, teacher, embed
        self.endpoint = endpoint
        self._brief = brief
        self._journal = journal
        self._servers = servers
        self._address: str | None = None
        self.ledger = Ledger(journal, endpoint, retry)

    def form_of_batches(self) -> str:
        """The form of answer batch files ask for.

        Raises:
            ConfigError: it is not known: a batch cannot learn it.
        """
        form = self.known_form()
        if form is None:
            raise ConfigError(
                f"teacher.answer_form is auto and nothing is known of {self.endpoint.model} yet: set json_schema, tagged or "
                "free, or let `ctd trace` ask a few documents first (--set teacher.max_documents=5)"
            )
        return form

    def known_form(self) -> str | None:
        """The form of answer to ask for: set, or learned before; null if it is still to be learned."""
        if self._teacher.answer_form != "auto":
            return self._teacher.answer_form
        return remembered_form(self._run.root_path, self.endpoint.name, self.endpoint.model)

    def form(self) -> str:
        """The form of answer to ask for, learned on a few questions if it is not known; their answers are kept.

        Raises:
            TeacherError: nobody answered, so nothing can be learned.
        """
        known = self.known_form()
        return known if known is not None else self._learn()

    def _learn(self) -> str:
        form = next((form for form in LADDER if self._try_form(form)), LAST_FORM)
        remember_form(self._run.root_path, self.endpoint.name, self.endpoint.model, form)
        logger.info("traces: %s is asked for answers of form %s from now on", self.endpoint.model, form)
        return form

    def _try_form(self, form: str) -> bool:
        probes = next(self.plan(form).first_wave(), [])[:PROBES]
        try:
            self.ask(iter([probes]), len(probes))
        except SchemaRefusedError as exc:
            logger.info("traces: %s", exc)
            return False
        followed = is_followed(form, list(self.ledger.read([probe.request_hash for probe in probes]).values()))
        if followed is None:
            raise TeacherError(
                f"{self.endpoint.name}: none of {len(probes)} first questions was answered, so the form of answers cannot be "
                "learned; run again later, or set teacher.answer_form"
            )
        return followed

    def plan(self, form: str) -> Plan:
        """What is to be asked in this form."""
        teacher, kind = self._teacher, self.endpoint.prompt_kind
        retrieval = self._retrieval if kind == "candidates" or "phase-2-index" in teacher.variants else None
        questions = Questions(kind, form, self._labels, retrieval, (teacher.candidate_count, teacher.given_count))
        return Plan(self._documents, self.endpoint, form, teacher, questions)

    @cached_property
    def _documents(self) -> pl.DataFrame:
        return chosen_documents(read_table(self._inputs.tables["core_documents"]), self._teacher.max_documents)

    @cached_property
    def _labels(self) -> pl.DataFrame:
        return read_table(self._inputs.tables["core_labels"], ["label_id", "label_name"])

    @cached_property
    def _retrieval(self) -> Retrieval:
        inputs, kind = self._inputs, self._teacher.candidates_by
        left_out = left_out_labels(read_table(inputs.tables["core_relevance"]))
        wording = self._wording() if kind != "dense" else None
        if kind == "lexical":
            return Retrieval(Retriever(lexical=wording), kind, left_out)
        index = open_label_index(self._run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
        embedder = open_embedder(self._run, self._embed, self._embed.document_tokens)
        # every text has a vector before the first request: embedding beside the asking would slow both
        for _ in embedder.embed_blocks(self._documents["document_text"].to_list(), progress=log_progress("documents embedded")):
            pass
        return Retrieval(Retriever(index, embedder.embed, wording), kind, left_out)

    def _wording(self) -> LexicalIndex | Bm25Index:
        columns = ["label_id", "label_name", "description_text"]
        labels = read_table(self._inputs.tables["core_labels"], columns)
        texts = [label_text(name, text) for name, text in labels.select(columns[1:]).iter_rows()]
        return wording_index(labels["label_id"].to_numpy(), texts)

    def ask(self, chunks: Iterator[list[TraceRequest]], total: int) -> None:
        """Send what is not answered yet; every answer is on disk before it counts. Nothing missing: nothing is started.

        Raises:
            FatalTeacherError: no request can succeed.
            BudgetSpentError: `max_usd` might be passed.
            StorageError: an answer could not be stored.
        """
        # only here: 1 s of imports that a rerun and the stand-in do without
        from tasks.traces.progress import AskingProgress, counted

        missing, skipped = self.ledger.missing(chunks), 0
        for wanted, more in missing:
            skipped += more
            if wanted:
                break
        else:
            return
        with AskingProgress(total, self.ledger.spent_usd) as progress:
            progress.skip(skipped)
            try:
                with asyncio.Runner(loop_factory=fast_loop()) as runner:
                    runner.run(self._ask(chain([wanted], counted(missing, progress)), progress))
            except SchemaRefusedError:
                forget_form(self._run.root_path, self.endpoint.name, self.endpoint.model)
                raise

    async def _ask(self, chunks: Iterator[list[TraceRequest]], progress: "AskingProgress") -> None:
        from tasks.traces.asking import RequestStream, ask_all
        from tasks.traces.client import Teacher
        from tasks.traces.patience import ask_rules, pacer_of, patience_of
        from tasks.traces.progress import Shown
        from tasks.traces.transport import Transport, open_client

        teacher = self._teacher
        key = os.environ.get(teacher.api_key_env) if self._brief is None else None
        pacer = pacer_of(teacher)

        async with open_client(self._serving_address(), key or "none", teacher.concurrency) as client:
            transport = Transport(client, self.endpoint, patience_of(teacher), [key] if key else [])
            budget = Budget(teacher.max_usd, self.ledger.spent_usd)
            asker = Teacher(transport, self.endpoint, ask_rules(teacher), pacer, prices_of(teacher), budget)
            await ask_all(
                asker, RequestStream(chunks), WORKERS_PER_SLOT * teacher.concurrency, Shown(self.ledger, progress, pacer)
            )

    def _serving_address(self) -> str:
        if self._address is None:
            self._address = self._servers.enter_context(teacher_address(self._teacher, self._brief))
        return self._address

    def publish(self, plan: Plan) -> StageResult:
        """Write `raw_traces`: a row for everything that was to be asked, answered or not.

        Raises:
            TeacherError: too large a share failed.
        """
        keys = {row.key for row in plan.rows}
        unaskable = {bytes.fromhex(key) for key in plan.unaskable}
        failures = count_failures("no_shortlist" if key in unaskable else self.ledger.failure(key) for key in keys)
        last = self.ledger.last_error(kind for kind, _ in failures.most_common())
        refuse_failures(failures, len(keys), self._teacher.max_error_frac, last)
        behind = Spending()
        table = write_table_parts(self._run, "trace", RAW_TRACES, self._frames(plan, behind))
        is_complete = not any(may_pass(kind) for kind in failures)
        if is_complete and self._journal.line_count >= COMPACT_FROM:
            logger.info("traces: %d answers moved from the journal to Parquet", self._journal.compact())
        return StageResult(tables=(table,), cost=stage_cost(self.ledger.sent, behind), is_complete=is_complete)

    def _frames(self, plan: Plan, behind: Spending) -> Iterator[pl.DataFrame]:
        counted: set[bytes] = set()
        for part in in_parts(plan.rows, ROWS_PER_PART):
            answers = self.ledger.read([row.request_hash for row in part]) | plan.unaskable
            never = {row.request_hash: plan.never_asked(row) for row in part if row.request_hash not in answers}
            for row in part:
                if row.key not in counted and row.request_hash in answers:
                    counted.add(row.key)
                    behind.add(answers[row.request_hash])
            yield trace_rows(self._run.dataset, part, answers | never)


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop, which answers half a thousand sockets 20 ms sooner; asyncio's own loop where it does not exist (Windows)."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop
