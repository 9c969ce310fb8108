import random
from statistics import mean

import polars as pl
import pytest

from tasks.labels.embedder import hash_text
from tasks.traces.stand_in.thinking import Candidate, Known, Question, Thought, known_documents, vary
from tests.unit.traces.stand_in.tiny_stand_in import DOCUMENTS, IDS, NAMES, known_all, tiny_stand_in

QUESTIONS = [Question(text, None) for text in DOCUMENTS]
EXACT = {"miss_rate": 0.0, "flip_rate": 0.0, "faults": {"unknown_label": 0.0}}


def _ids(thought: Thought) -> list[int | None]:
    return [candidate.label_id for candidate in thought.candidates]


def test_think_keeps_exactly_the_targets_when_it_makes_no_errors() -> None:
    known = known_all()
    for text, thought in zip(DOCUMENTS, tiny_stand_in(known, **EXACT).think(QUESTIONS), strict=True):
        assert {c.label_id for c in thought.kept()} == set(known[hash_text(text)].targets)


def test_think_gives_a_shortlist_of_the_set_size_without_repeats_or_left_out_labels() -> None:
    known = known_all()
    for text, thought in zip(DOCUMENTS, tiny_stand_in(known, shortlist_size=8, **EXACT).think(QUESTIONS), strict=True):
        ids = _ids(thought)
        assert len(ids) == len(set(ids)) == 8
        assert not known[hash_text(text)].left_out & set(ids)
        assert all(thought.candidates[i].relevance >= thought.candidates[i + 1].relevance for i in range(7))


def test_think_leaves_room_for_near_misses_among_many_targets() -> None:
    thoughts = tiny_stand_in(known_all(target_count=5), shortlist_size=5, **EXACT).think(QUESTIONS)
    assert {len(thought.kept()) for thought in thoughts} == {3}


def test_think_takes_near_misses_from_the_relations_of_the_targets() -> None:
    known = known_all()
    related = []
    for text, thought in zip(DOCUMENTS, tiny_stand_in(known, **EXACT).think(QUESTIONS), strict=True):
        targets = {i - int(IDS[0]) for i in known[hash_text(text)].targets}
        ring = {(t + step) % len(NAMES) for t in targets for step in (-2, -1, 1, 2)} - targets
        related.append(sum((i or 0) - int(IDS[0]) in ring for i in _ids(thought)))
    assert min(related) >= 2


def test_think_misses_targets_at_the_miss_rate() -> None:
    known = known_all()
    thoughts = tiny_stand_in(known, **EXACT | {"miss_rate": 0.3}).think(QUESTIONS)
    found = [len(set(_ids(t)) & set(known[hash_text(q.text)].targets)) / 3 for q, t in zip(QUESTIONS, thoughts, strict=True)]
    assert 0.6 < mean(found) < 0.8


def test_think_turns_verdicts_at_the_flip_rate() -> None:
    known = known_all()
    thoughts = tiny_stand_in(known, **EXACT | {"flip_rate": 0.2}).think(QUESTIONS)
    wrong = [
        c.is_kept != (c.label_id in known[hash_text(q.text)].targets)
        for q, t in zip(QUESTIONS, thoughts, strict=True)
        for c in t.candidates
    ]
    assert 0.15 < mean(wrong) < 0.25


def test_think_invents_labels_at_the_unknown_rate() -> None:
    thoughts = tiny_stand_in(known_all(), faults={"unknown_label": 0.2}).think(QUESTIONS)
    candidates = [c for t in thoughts for c in t.candidates]
    invented = [c.name for c in candidates if c.label_id is None]
    assert 0.15 < len(invented) / len(candidates) < 0.25
    assert not {name.lower() for name in invented} & {name.lower() for name in NAMES}


def test_think_answers_unknown_documents_by_retrieval_alone() -> None:
    plain = tiny_stand_in({}, **EXACT).think(QUESTIONS)
    others_known = tiny_stand_in({hash_text("another text"): Known((100,), frozenset())}, **EXACT).think(QUESTIONS)
    assert plain == others_known
    hits = [
        NAMES[(t.candidates[0].label_id or 0) - 100].split()[1:3] == q.text.split()[:2]
        for q, t in zip(QUESTIONS, plain, strict=True)
    ]
    assert mean(hits) > 0.8


def test_think_is_the_same_for_one_seed_alone_or_together_and_another_for_another() -> None:
    known = known_all()
    together = tiny_stand_in(known, seed=1).think(QUESTIONS)
    alone = [tiny_stand_in(known, seed=1).think([question])[0] for question in QUESTIONS[:5]]
    assert together[:5] == alone
    assert together != tiny_stand_in(known, seed=2).think(QUESTIONS)


def test_think_picks_only_offered_labels_and_invents_none() -> None:
    offered = tuple(int(i) for i in IDS[10:30])
    questions = [Question(text, offered) for text in DOCUMENTS]
    thoughts = tiny_stand_in(known_all(), faults={"unknown_label": 1.0}).think(questions)
    assert {i for t in thoughts for i in _ids(t)} <= set(offered)
    assert all(len(t.candidates) == 10 and t.kept() for t in thoughts)


def test_think_with_few_offered_labels_gives_a_short_list() -> None:
    thought = tiny_stand_in({}).think([Question(DOCUMENTS[0], (100, 101))])[0]
    assert sorted(i for i in _ids(thought) if i) == [100, 101]
    assert tiny_stand_in({}).think([Question(DOCUMENTS[0], ())])[0].candidates == ()


def test_think_always_keeps_something() -> None:
    thoughts = tiny_stand_in(known_all(), **EXACT | {"miss_rate": 1.0}).think(QUESTIONS)
    assert all(len(thought.kept()) == 1 for thought in thoughts)


def test_think_compares_dropped_labels_with_kept_ones_and_quotes_the_document() -> None:
    rivals = 0
    for question, thought in zip(QUESTIONS, tiny_stand_in(known_all(), **EXACT).think(QUESTIONS), strict=True):
        for candidate in thought.candidates:
            assert candidate.words
            assert all(word in question.text for word in candidate.words)
            if candidate.rival is not None:
                rivals += 1
                assert not candidate.is_kept
                assert thought.candidates[candidate.rival].is_kept
    assert rivals > len(QUESTIONS)


@pytest.mark.parametrize("text", ["", "0 1 2", "the of and", "Ω"])
def test_think_copes_with_a_document_without_usable_words(text: str) -> None:
    assert tiny_stand_in({}).think([Question(f"{text} small", None)])[0].candidates


def test_known_documents_splits_targets_from_left_out_labels() -> None:
    told = pl.DataFrame({"text_hash": ["a", "a", "b"], "label_id": [3, 1, 2], "is_filtered": [False, True, True]})
    assert known_documents(told) == {"a": Known((3,), frozenset({1})), "b": Known((), frozenset({2}))}


def test_think_judges_every_label_of_a_given_shortlist_in_its_order() -> None:
    known = known_all()
    stand_in = tiny_stand_in(known, **EXACT)
    for text in DOCUMENTS:
        targets = known[hash_text(text)].targets
        given = (int(IDS[40]), *targets, int(IDS[0]))
        by_id, by_name = stand_in.think(
            [Question(text, None, given), Question(text, None, tuple(NAMES[i - int(IDS[0])] for i in given))]
        )
        assert _ids(by_id) == _ids(by_name) == list(dict.fromkeys(given))
        assert {c.label_id for c in by_id.kept()} == set(targets)
        assert [c.name for c in by_id.candidates] == [c.name for c in by_name.candidates]


def test_think_judges_a_long_given_shortlist_whole() -> None:
    given = tuple(int(i) for i in IDS[:30])
    assert _ids(tiny_stand_in(known_all()).think([Question(DOCUMENTS[0], None, given)])[0]) == list(given)


def test_think_knows_a_given_label_whatever_its_letters() -> None:
    stand_in = tiny_stand_in(known_all(), **EXACT)
    questions = [
        Question(DOCUMENTS[0], None, tuple(NAMES[:6])),
        Question(DOCUMENTS[0], None, tuple(n.upper() for n in NAMES[:6])),
    ]
    exact, loud = stand_in.think(questions)
    assert _ids(exact) == _ids(loud) == IDS[:6].tolist()
    assert [c.is_kept for c in exact.candidates] == [c.is_kept for c in loud.candidates]


def test_think_drops_given_names_of_no_label_and_keeps_rivals_in_place() -> None:
    known = known_all()
    targets = [NAMES[i - int(IDS[0])] for i in known[hash_text(DOCUMENTS[0])].targets]
    given = ("no such label", targets[0], "  nor\tthis ", *NAMES[20:24], targets[1].replace(" ", "  "))
    thought = tiny_stand_in(known, **EXACT).think([Question(DOCUMENTS[0], None, given)])[0]
    assert [c.name for c in thought.candidates] == list(given)
    assert [c.name for c in thought.candidates if c.label_id is None] == ["no such label", "  nor\tthis "]
    assert [c.name for c in thought.kept()] == [given[1], given[-1]]
    assert all(thought.candidates[c.rival].is_kept for c in thought.candidates if c.rival is not None)


def test_think_leaves_out_given_numbers_that_name_nothing() -> None:
    assert _ids(tiny_stand_in({}).think([Question(DOCUMENTS[0], None, (99, 100, 5000))])[0]) == [100]
    assert tiny_stand_in({}).think([Question(DOCUMENTS[0], None, (99,))])[0].candidates == ()


def test_think_judges_a_given_shortlist_of_an_unknown_document_by_retrieval() -> None:
    fitting = [i for i, name in enumerate(NAMES) if "small editor" in name]
    given = tuple(int(IDS[i]) for i in (31, *fitting, 45))
    assert [c.label_id for c in tiny_stand_in({}).think([Question("small editor", None, given)])[0].kept()] == [
        int(IDS[fitting[0]])
    ]


def test_vary_turns_few_verdicts_keeps_one_and_compares_with_kept_labels_only() -> None:
    thought = tiny_stand_in(known_all(), **EXACT).think(QUESTIONS[:1])[0]
    varied = [vary(thought, random.Random(seed), 0.1) for seed in range(300)]
    turned = [sum(a.is_kept != b.is_kept for a, b in zip(thought.candidates, v.candidates, strict=True)) for v in varied]
    assert 0.7 < mean(turned) < 1.3
    assert all(v.kept() for v in varied)
    for v in varied:
        rivals = [(c, v.candidates[c.rival]) for c in v.candidates if c.rival is not None]
        assert all(rival.is_kept and not c.is_kept for c, rival in rivals)


def test_vary_leaves_a_thought_that_would_keep_nothing() -> None:
    thought = Thought((Candidate(1, "a", 0.5, True), Candidate(2, "b", 0.4, True)))
    assert vary(thought, random.Random(0), 1.0) is thought
