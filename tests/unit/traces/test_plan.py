from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.config import TeacherConfig
from schemas.fields import VARIANTS
from tasks.labels.retrieval import Retriever
from tasks.labels.search import LabelIndex
from tasks.traces import plan as planning
from tasks.traces.answers import Answer, Received, answered, failed
from tasks.traces.endpoints import Endpoint, asked_endpoint
from tasks.traces.money import Prices, Usage
from tasks.traces.plan import CHUNK, Plan
from tasks.traces.prompts import read_document, read_given, read_offered
from tasks.traces.questions import Questions, Retrieval, draw_strangers
from tasks.traces.requests import TraceRequest

NAMES = ["vim", "nano", "emacs", "ed"]
LABELS = pl.DataFrame({"label_id": [10, 11, 12, 13], "label_name": NAMES})
INDEX = LabelIndex(np.array([10, 11, 12, 13], np.int32), np.eye(4, dtype=np.float32))
NEAREST = np.array([[0.9, 0.4, 0.1, 0.0]], np.float32)
RETRIEVAL = Retrieval(Retriever(INDEX, lambda texts: np.tile(NEAREST, (len(texts), 1))), "dense")
GIVEN = ("phase-1", "phase-2-teacher", "phase-2-stranger")


def _documents(*texts: str) -> pl.DataFrame:
    ids, splits = [f"d{i}" for i in range(len(texts))], ["train"] * len(texts)
    return pl.DataFrame({"document_id": ids, "split": splits, "document_text": texts, "text_hash": texts})


def _teacher(**settings: Any) -> TeacherConfig:  # each setting has its own type
    return TeacherConfig.model_validate({"prompt_kind": "open", "model": "m", "base_url": "http://host/v1"} | settings)


def _endpoint(teacher: TeacherConfig) -> Endpoint:
    return asked_endpoint(teacher, None)


def _plan(documents: pl.DataFrame, form: str = "json", **settings: Any) -> Plan:  # as above
    teacher = _teacher(**settings)
    questions = Questions(str(teacher.prompt_kind), form, LABELS, RETRIEVAL, (3, 2))
    return Plan(documents, _endpoint(teacher), form, teacher, questions)


def _all(chunks: object) -> list[TraceRequest]:
    return [request for chunk in chunks for request in chunk]  # type: ignore[attr-defined]


class Journal:
    """Answers each phase-1 request with the shortlist of its document and sample; counts what is read at once."""

    def __init__(self, requests: Sequence[TraceRequest], texts: Mapping[tuple[str, int], str], teacher: TeacherConfig) -> None:
        self.most_read = 0
        self._answers: dict[str, Answer] = {}
        for request in requests:
            text = texts.get((request.document_id, request.sample_index))
            if text is not None:
                received = Received(text, None, "stop", Usage())
                self._answers[request.request_hash] = answered(request, _endpoint(teacher), Prices(), received, 1, None)

    def fail(self, request: TraceRequest, teacher: TeacherConfig) -> None:
        self._answers[request.request_hash] = failed(request, _endpoint(teacher), 3, "http_500", '{"shortlist": ["vim"]}')

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        self.most_read = max(self.most_read, len(keys))
        return {key: self._answers[key] for key in keys if key in self._answers}


def test_first_wave_asks_every_document_in_every_variant_and_sample_with_its_own_seed() -> None:
    plan = _plan(_documents("text a", "text b"), variants=VARIANTS, sample_count=2, seed=40)
    requests = _all(plan.first_wave())
    asked = {(r.document_id, r.variant, r.sample_index, r.seed) for r in requests}
    assert asked == {(d, v, s, 40 + s) for d in ("d0", "d1") for v in ("both", "phase-1", "phase-2-index") for s in (0, 1)}
    assert len(requests) == len({request.request_hash for request in requests}) == 12
    assert plan.row_count == 2 * 5 * 2
    assert {read_document(request.prompt.user) for request in requests} == {"text a", "text b"}
    assert {request.asked_form for request in requests} == {"json"}


def test_first_wave_asks_texts_that_are_the_same_with_one_key() -> None:
    plan = _plan(_documents("text a", "text a"))
    assert len({request.request_hash for request in _all(plan.first_wave())}) == 1
    assert [(row.document_id, row.split, row.variant, row.sample_index) for row in plan.rows] == [
        ("d0", "train", "both", 0),
        ("d1", "train", "both", 0),
    ]


def test_first_wave_makes_chunks_when_they_are_needed() -> None:
    documents = _documents(*map(str, range(2 * CHUNK + 1)))
    plan = _plan(documents)
    wave = plan.first_wave()
    assert len(plan.rows) == 0
    assert (len(next(wave)), len(plan.rows)) == (CHUNK, CHUNK)
    assert [len(chunk) for chunk in wave] == [CHUNK, 1]
    assert [row.request_hash for row in plan.rows] == [r.request_hash for r in _all(_plan(documents).first_wave())]


def test_second_wave_is_empty_where_no_variant_is_given_an_answer() -> None:
    plan = _plan(_documents("text a"), variants=("both", "phase-1", "phase-2-index"))
    _all(plan.first_wave())
    assert list(plan.second_wave(lambda keys: {})) == []
    assert plan.unaskable == {}


def _second(
    documents: pl.DataFrame, texts: Mapping[tuple[str, int], str], form: str = "json", **settings: Any
) -> tuple[Plan, list[TraceRequest], Journal]:
    settings = {"variants": GIVEN} | settings
    plan, teacher = _plan(documents, form, **settings), _teacher(**settings)
    journal = Journal(_all(plan.first_wave()), texts, teacher)
    return plan, _all(plan.second_wave(journal.read)), journal


def test_second_wave_gives_each_sample_its_own_shortlist_and_a_strangers() -> None:
    texts = {(f"d{d}", s): f'{{"shortlist": ["{NAMES[d]}", "{NAMES[d]} {s}"]}}' for d in range(3) for s in range(2)}
    documents = _documents("text a", "text b", "text c")
    plan, requests, _ = _second(documents, texts, sample_count=2, seed=7)
    strangers = draw_strangers(documents, 7)
    assert {(r.document_id, r.variant, r.sample_index) for r in requests} == {
        (f"d{d}", v, s) for d in range(3) for v in GIVEN[1:] for s in range(2)
    }
    for request in requests:
        own = NAMES[int(request.document_id[1])]
        other = NAMES[int(strangers[request.document_id][1])]
        given = (own, f"{own} {request.sample_index}") if request.variant == "phase-2-teacher" else (other,)
        assert read_given(request.prompt.user) == given
        assert read_document(request.prompt.user) == f"text {'abc'[int(request.document_id[1])]}"
        assert request.seed == 7 + request.sample_index
    assert len(plan.rows) == plan.row_count == 3 * 3 * 2
    assert plan.unaskable == {}


def test_second_wave_gives_a_closed_lists_labels_by_number() -> None:
    texts = {("d0", 0): '{"shortlist": [{"id": 12}, {"id": 99}, {"id": 10}]}', ("d1", 0): '{"shortlist": [{"id": 13}]}'}
    _, requests, _ = _second(_documents("text a", "text b"), texts, form="json_schema", prompt_kind="candidates")
    offered = {(request.document_id, request.variant): read_offered(request.prompt.user) for request in requests}
    assert offered == {
        ("d0", "phase-2-teacher"): (12, 10),
        ("d1", "phase-2-teacher"): (13,),
        ("d0", "phase-2-stranger"): (13,),
        ("d1", "phase-2-stranger"): (12, 10),
    }


@pytest.mark.parametrize("text", [None, "", "I cannot help with that.", '{"shortlist": []}', '{"shortlist": ["'])
def test_second_wave_leaves_out_what_has_no_shortlist_and_says_why(text: str | None) -> None:
    texts = {("d1", 0): '{"shortlist": ["vim"]}'} | ({} if text is None else {("d0", 0): text})
    plan, requests, _ = _second(_documents("text a", "text b"), texts)
    assert {(r.document_id, r.variant) for r in requests} == {("d1", "phase-2-teacher"), ("d0", "phase-2-stranger")}
    assert {(row.document_id, row.variant) for row in plan.rows if row.request_hash in plan.unaskable} == {
        ("d0", "phase-2-teacher"),
        ("d1", "phase-2-stranger"),
    }
    for answer in plan.unaskable.values():
        assert (answer.error_kind, answer.attempt_count, answer.cost_usd) == ("no_shortlist", 0, None)
        assert answer.variant in (answer.error_text or "")
    assert len(plan.rows) == plan.row_count == len({row.key for row in plan.rows})


def test_second_wave_reads_no_shortlist_from_a_failed_request() -> None:
    teacher = _teacher(variants=GIVEN)
    plan = _plan(_documents("text a", "text b"), variants=GIVEN)
    requests = _all(plan.first_wave())
    journal = Journal([], {}, teacher)
    for request in requests:
        journal.fail(request, teacher)
    assert _all(plan.second_wave(journal.read)) == []
    assert len(plan.unaskable) == 4


def test_second_wave_has_no_stranger_where_all_texts_are_the_same() -> None:
    texts = {("d0", 0): '{"shortlist": ["vim"]}', ("d1", 0): '{"shortlist": ["vim"]}'}
    plan, requests, _ = _second(_documents("text a", "text a"), texts)
    assert [(r.document_id, r.variant) for r in requests] == [("d0", "phase-2-teacher"), ("d1", "phase-2-teacher")]
    assert {answer.variant for answer in plan.unaskable.values()} == {"phase-2-stranger"}


def test_second_wave_reads_a_chunk_of_answers_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "CHUNK", 4)
    texts = {(f"d{d}", 0): f'{{"shortlist": ["{NAMES[d % 4]}"]}}' for d in range(10)}
    plan, requests, journal = _second(_documents(*map(str, range(10))), texts)
    assert (journal.most_read, len(requests), len(plan.rows)) == (4, 20, 30)


def test_plan_asks_the_same_again_when_documents_are_added() -> None:
    texts = {(f"d{d}", 0): f'{{"shortlist": ["{NAMES[d % 4]}"]}}' for d in range(8)}
    words = [f"text {i}" for i in range(8)]
    few, more = (_second(_documents(*words[:count]), texts)[0] for count in (5, 8))
    assert {row.key for row in few.rows} < {row.key for row in more.rows}


def test_never_asked_says_so_in_the_row() -> None:
    plan = _plan(_documents("text a"), form="tagged", variants=("phase-1",), sample_count=2)
    requests = _all(plan.first_wave())
    answer = plan.never_asked(plan.rows[1])
    assert (answer.request_hash, answer.variant, answer.sample_index) == (requests[1].request_hash, "phase-1", 1)
    assert (answer.error_kind, answer.asked_form, answer.attempt_count) == ("never_asked", "tagged", 0)


def _split_documents(*splits: str) -> pl.DataFrame:
    return _documents(*(f"text {i}" for i in range(len(splits)))).with_columns(split=pl.Series(splits))


def test_single_phases_are_asked_about_the_first_test_documents_alone() -> None:
    documents = _split_documents("train", "train", "test", "test", "test")
    texts = {(f"d{d}", 0): f'{{"shortlist": ["{NAMES[d % 4]}"]}}' for d in range(5)}
    plan, requests, _ = _second(documents, texts, variants=VARIANTS, variant_documents=2)
    asked = Counter(row.variant for row in plan.rows)
    assert asked == {"both": 5} | dict.fromkeys(VARIANTS[1:], 2)
    assert plan.row_count == len(plan.rows) == 13
    assert {row.document_id for row in plan.rows if row.variant != "both"} == {"d2", "d3"}
    assert {r.document_id for r in requests} == {"d2", "d3"}


def test_fewer_documents_for_single_phases_change_no_question() -> None:
    documents = _split_documents("train", "train", "test", "test", "test", "test")
    texts = {(f"d{d}", 0): f'{{"shortlist": ["{NAMES[d % 4]}"]}}' for d in range(6)}
    few, every = (_second(documents, texts, variants=VARIANTS, variant_documents=count)[0] for count in (3, None))
    assert len(few.rows) == 6 + 4 * 3
    assert {row.key for row in few.rows} < {row.key for row in every.rows}
    assert few.row_count * 5 == every.row_count * 3


def test_single_phases_of_a_dataset_without_test_documents_are_not_asked() -> None:
    plan = _plan(_documents("text a", "text b"), variants=VARIANTS, variant_documents=2)
    assert {request.variant for request in _all(plan.first_wave())} == {"both"}
    assert list(plan.second_wave(lambda keys: {})) == []
    assert plan.row_count == 2
