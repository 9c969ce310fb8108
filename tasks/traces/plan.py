"""Everything that is to be asked, a chunk of documents at a time: memory does not grow with the number of documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from schemas.config import TeacherConfig
from tasks.traces.answers import Answer, failed, is_answered
from tasks.traces.endpoints import Endpoint, canonical_hash
from tasks.traces.forms import listed_shortlist
from tasks.traces.prompts import Prompt
from tasks.traces.questions import OTHER, OWN, Questions, draw_strangers
from tasks.traces.requests import TraceRequest, make_request

NEVER_ASKED = "never_asked"
WHOLE = "both"
"""The variant that later stages learn from: every document is asked about in it."""

CHUNK = 512
"""Documents whose prompts are made together."""

ReadAnswers = Callable[[Sequence[str]], Mapping[str, Answer]]
"""The journal's newest answers to these request keys."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One row that `raw_traces` will have."""

    key: bytes
    document_id: str
    split: str
    variant: str
    sample_index: int

    @property
    def request_hash(self) -> str:
        """The request's key in hex."""
        return self.key.hex()


class Plan:
    """Makes requests chunk by chunk and remembers which rows they will fill."""

    def __init__(
        self, documents: pl.DataFrame, endpoint: Endpoint, form: str, teacher: TeacherConfig, questions: Questions
    ) -> None:
        """Plan for `documents` (`core_documents`, those to ask about)."""
        self._documents = documents
        self._endpoint = endpoint
        self._form = form
        self._teacher = teacher
        self._questions = questions
        self._apart = _asked_apart(documents, teacher.variant_documents)
        self._strangers: dict[str, str] = {}
        self._phase_1: dict[tuple[str, int], str] = {}
        self.rows: list[Asked] = []
        self.unaskable: dict[str, Answer] = {}
        """Failed answers of documents that cannot be asked: the phase-1 answer they should be given lists nothing."""

    @property
    def row_count(self) -> int:
        """Rows there will be: documents of each variant times samples."""
        counts = (self._documents.height if variant == WHOLE else self._apart.height for variant in self._teacher.variants)
        return sum(counts) * self._teacher.sample_count

    def first_wave(self) -> Iterator[list[TraceRequest]]:
        """Requests that need no answer of the teacher, in chunks."""
        variants = [variant for variant in self._teacher.variants if variant not in (OWN, OTHER)]
        for chunk in self._documents.iter_slices(CHUNK):
            parts = [(variant, part) for variant in variants if (part := self._part(chunk, variant)).height]
            made = [(variant, part, self._fresh_prompts(part, variant)) for variant, part in parts]
            yield [
                request
                for sample in range(self._teacher.sample_count)
                for variant, part, prompts in made
                for request in self._requests(part, variant, sample, prompts)
            ]

    def second_wave(self, read: ReadAnswers) -> Iterator[list[TraceRequest]]:
        """Requests that are given a phase-1 answer of the first wave, in chunks."""
        variants = [variant for variant in self._teacher.variants if variant in (OWN, OTHER)]
        if variants:
            self._strangers = draw_strangers(self._apart, self._teacher.seed or 0)
        for chunk in self._apart.iter_slices(CHUNK) if variants else ():
            requests: list[TraceRequest] = []
            for sample in range(self._teacher.sample_count):
                for variant in variants:
                    prompts = self._given_prompts(chunk, variant, sample, read)
                    requests += self._requests(chunk, variant, sample, prompts)
            yield requests

    def _part(self, chunk: pl.DataFrame, variant: str) -> pl.DataFrame:
        """The documents of a chunk that a variant is asked about."""
        return chunk if variant == WHOLE else chunk.join(self._apart, on="document_id", how="semi", maintain_order="left")

    def _fresh_prompts(self, part: pl.DataFrame, variant: str) -> list[Prompt | None]:
        return self._questions.prompts(variant, part["document_id"].to_list(), part["document_text"].to_list(), None)

    def _given_prompts(self, chunk: pl.DataFrame, variant: str, sample: int, read: ReadAnswers) -> list[Prompt | None]:
        ids = chunk["document_id"].to_list()
        givers = ids if variant == OWN else [self._strangers.get(document) for document in ids]
        keys = [self._phase_1.get((giver, sample)) if giver is not None else None for giver in givers]
        answers = read([key for key in keys if key is not None])
        shortlists = [_listed(answers.get(key)) if key is not None else [] for key in keys]
        return self._questions.prompts(variant, ids, chunk["document_text"].to_list(), shortlists)

    def _requests(
        self, chunk: pl.DataFrame, variant: str, sample: int, prompts: Sequence[Prompt | None]
    ) -> Iterator[TraceRequest]:
        for (document_id, split), prompt in zip(chunk.select("document_id", "split").iter_rows(), prompts, strict=True):
            if prompt is None:
                self._leave_out(document_id, split, variant, sample)
                continue
            request = make_request(self._endpoint, document_id, split, prompt, variant, self._form, sample)
            if variant == "phase-1":
                self._phase_1[(document_id, sample)] = request.request_hash
            self.rows.append(Asked(bytes.fromhex(request.request_hash), document_id, split, variant, sample))
            yield request

    def _leave_out(self, document_id: str, split: str, variant: str, sample: int) -> None:
        key = canonical_hash(
            {"document_id": document_id, "variant": variant, "sample_index": sample, "model": self._endpoint.model}
        )
        reason = f"the phase-1 answer that {variant} should be given has no label that could be read"
        row = Asked(bytes.fromhex(key), document_id, split, variant, sample)
        self.unaskable[key] = self._unsent(row, "no_shortlist", reason)
        self.rows.append(row)

    def never_asked(self, row: Asked) -> Answer:
        """What stands in a row whose request was not sent: only failed ones were, or a batch did not answer it."""
        return self._unsent(row, NEVER_ASKED, "this request was not sent yet; run `ctd trace` to send it")

    def _unsent(self, row: Asked, kind: str, reason: str) -> Answer:
        key, nothing = row.request_hash, Prompt("", "")
        request = TraceRequest(key, key, row.document_id, row.split, nothing, row.variant, self._form, row.sample_index)
        return failed(request, self._endpoint, 0, kind, reason)


def _asked_apart(documents: pl.DataFrame, count: int | None) -> pl.DataFrame:
    """The documents that single phases are asked about: all, or the first `count` of the test split."""
    return documents if count is None else documents.filter(pl.col("split") == "test").head(count)


def _listed(answer: Answer | None) -> list[str]:
    if answer is None or not is_answered(answer):
        return []
    return listed_shortlist(answer.completion_text or "", answer.reasoning_text or "")
