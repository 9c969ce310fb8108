import json
import random
import re

import pytest

from tasks.traces.stand_in.knowledge import unique_names
from tasks.traces.stand_in.thinking import Candidate, Thought
from tasks.traces.stand_in.wording import Reply, Style, Writer, cut_reply, indented

NAMES = ("vim: an editor", "emacs: another editor", 'foo: the "foo" tool', "ed: the editor")
THOUGHT = Thought(
    (
        Candidate(1, NAMES[0], 0.9, True, None, ("edit", "text")),
        Candidate(2, NAMES[1], 0.5, False, 0, ("text",)),
        Candidate(3, NAMES[2], 0.4, False, None, ()),
        Candidate(4, NAMES[3], 0.2, True, None, ("line",)),
    )
)


def _write(seed: int, answer_format: str, is_closed: bool = False) -> Reply:
    return Writer(random.Random(seed), unique_names(NAMES), Style(is_closed=is_closed)).write(THOUGHT, "A title.", answer_format)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


@pytest.mark.parametrize("seed", range(20))
def test_write_json_holds_shortlist_steps_and_answer(seed: int) -> None:
    content = json.loads(_write(seed, "json").content)
    assert [set(c) for c in content["shortlist"]] == [{"label"}] * 4
    assert [s["verdict"] for s in content["steps"]] == ["keep", "drop", "drop", "keep"]
    assert [s["compared_to"] is None for s in content["steps"]] == [True, False, True, True]
    assert [a["confidence"] for a in content["answer"]] == [0.95, 0.6]
    assert all(set(s) == {"label", "verdict", "compared_to", "reason"} for s in content["steps"])


@pytest.mark.parametrize("seed", range(20))
def test_write_tagged_has_one_label_a_line_and_one_step_a_candidate(seed: int) -> None:
    reply = _write(seed, "tagged")
    parts = re.fullmatch(
        r"(?s)<shortlist>\n(.*)\n</shortlist>\n<reasoning>\n(.*)\n</reasoning>\n<answer>\n(.*)\n</answer>", reply.content
    )
    assert parts is not None
    assert reply.reasoning is None
    assert [len(part.split("\n")) for part in parts.groups()] == [4, 4, 2]
    assert all(line.startswith("<step>") and line.endswith("</step>") for line in parts[2].split("\n"))


@pytest.mark.parametrize("seed", range(20))
def test_write_prose_keeps_reasoning_apart_and_ends_with_one_label_a_line(seed: int) -> None:
    reply = _write(seed, "prose")
    assert reply.reasoning is not None
    paragraphs = reply.reasoning.split("\n\n")
    assert len(paragraphs) == 3 + 4 + 1
    assert all(short in _plain(paragraphs[1]) for short in ("vim", "emacs", "foo", "ed"))
    assert "emacs" in _plain(paragraphs[4])
    assert "vim" in _plain(paragraphs[4])
    assert len(reply.content.split("\n")) == 2


def test_write_varies_its_words_and_the_forms_of_names() -> None:
    written = [_write(seed, "prose") for seed in range(40)]
    assert len({reply.reasoning for reply in written}) == 40
    first_labels = {reply.content.split("\n")[0].removeprefix("- ") for reply in written}
    assert {"vim: an editor", "vim"} <= first_labels
    assert len(first_labels) >= 4


def test_write_mixed_uses_every_format() -> None:
    replies = [_write(seed, "mixed") for seed in range(40)]
    kinds = {"prose" if r.reasoning else "json" if r.content.startswith("{") else "tagged" for r in replies}
    assert kinds == {"prose", "json", "tagged"}


@pytest.mark.parametrize("answer_format", ["prose", "json", "tagged"])
def test_write_names_labels_by_number_in_a_closed_prompt(answer_format: str) -> None:
    reply = _write(3, answer_format, is_closed=True)
    text = json.dumps(json.loads(reply.content)) if answer_format == "json" else reply.content
    assert "[1] vim: an editor" in text
    assert "[4] ed: the editor" in text


def test_unique_names_shortens_only_what_stays_unique() -> None:
    names = ("vim: an editor", "works-with: text", "works-with: image", "plain")
    assert unique_names(names) == {"vim: an editor": "vim"}


def test_cut_reply_cuts_reasoning_before_content() -> None:
    reply = Reply("content", "reasoning")
    assert cut_reply(reply, 4) == Reply("", "reas", "length")
    assert cut_reply(reply, 12) == Reply("con", "reasoning", "length")
    assert cut_reply(Reply("content"), 3) == Reply("con", None, "length")


def test_write_names_numbers_alone_by_a_schema_of_offered_labels() -> None:
    style = Style(is_closed=True, has_ids=True)
    content = json.loads(Writer(random.Random(0), {}, style).write(THOUGHT, "A title.", "json").content)
    assert content["shortlist"] == [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}]
    assert [step["compared_to"] for step in content["steps"]] == [None, 1, None, None]
    assert [answer["id"] for answer in content["answer"]] == [1, 4]


@pytest.mark.parametrize(("phases", "parts"), [("phase-1", {"shortlist"}), ("phase-2", {"steps", "answer"})])
def test_write_json_holds_the_parts_of_the_phases_asked_for(phases: str, parts: set[str]) -> None:
    assert set(json.loads(Writer(random.Random(0), {}, Style(phases)).write(THOUGHT, "A title.", "json").content)) == parts


def test_write_tagged_holds_the_parts_of_the_phases_asked_for() -> None:
    first, second = (Writer(random.Random(0), {}, Style(p)).write(THOUGHT, "T", "tagged").content for p in ("phase-1", "phase-2"))
    assert re.findall(r"</(\w+)>\n?", re.sub(r"</step>", "", first)) == ["shortlist"]
    assert re.findall(r"</(\w+)>\n?", re.sub(r"</step>", "", second)) == ["reasoning", "answer"]


def test_write_prose_lists_all_candidates_in_phase_1_and_the_kept_ones_in_phase_2() -> None:
    first, second = (Writer(random.Random(0), {}, Style(p)).write(THOUGHT, "T", "prose") for p in ("phase-1", "phase-2"))
    assert len(first.content.split("\n")) == 4
    assert len(second.content.split("\n")) == 2
    assert not re.search(r"(?i)keep|drop", str(first.reasoning))
    assert re.search(r"(?i)keep", str(second.reasoning))


def test_write_names_given_labels_as_given() -> None:
    for seed in range(10):
        lines = Writer(random.Random(seed), unique_names(NAMES), Style("phase-2", is_given=True)).write(THOUGHT, "T", "tagged")
        assert lines.content.partition("<answer>\n")[2].split("\n")[:2] == [NAMES[0], NAMES[3]]


@pytest.mark.parametrize(
    "parts",
    [
        {"shortlist": [{"id": 1}, {"id": 2}]},
        {"steps": [], "answer": [{"label": 'a "b"\\ \n\t\x01é 😀', "compared_to": None, "confidence": 1.0}]},
        {"answer": [{"label": "},\n      {"}]},
    ],
)
def test_indented_writes_as_the_standard_library_does(parts: dict[str, list[dict[str, object]]]) -> None:
    assert indented(parts) == json.dumps(parts, indent=2, ensure_ascii=False)
