"""Generated tokens to steps, and steps to Focus and Confusion."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from schemas.errors import ModelRefusedError
from tasks.labels.search import Vectors
from tasks.open_models.spoken import Meaning, compact_form, limits_of, text_form, trajectory_rows
from tasks.sequences.compact import MARKS, CompactForm
from tests.support.tiny_tokenizers import byte_level, word_level
from tests.support.token_sequences import token_sequence

SEQUENCES = [token_sequence("a", [2, 3, 4], [0], [5, 6, 7], [(5, 6)] * 8), token_sequence("b", [2], [0], [5], [])]
NAMES = CompactForm({4: "@four", 5: "@five"}, {4: "Four of them", 5: "Five"}, 64, 2)
TOKENIZER = word_level([" ".join([*MARKS, "@four", "@five", "red", "blue"])])


def ids(text: str) -> list[int]:
    return list(TOKENIZER.convert_tokens_to_ids(text.split()))  # type: ignore[arg-type]


def test_compact_form_reads_the_phase_that_was_generated() -> None:
    form = compact_form(TOKENIZER, NAMES, SEQUENCES)
    assert form.mark_count == 1
    assert form.read("shortlist", ids("@five @four @five")) == ["Five", "Four of them"]
    assert form.read("refine", ids("<keep> @four red blue <drop> @five")) == ["Four of them red blue", "Five"]
    assert form.read("whole", ids("@five <refine> <drop> @five red <answer> @four")) == ["Five", "Five red", "Four of them"]
    assert form.read("refine", []) == []


def test_compact_form_stops_a_phase_at_the_mark_of_the_next() -> None:
    form = compact_form(TOKENIZER, NAMES, SEQUENCES)
    assert form.stops["shortlist"] == set(ids("<refine> <answer> <end>"))
    assert form.stops["refine"] == set(ids("<answer> <end>"))
    assert form.stops["whole"] == set(ids("<end>"))


def test_limits_of_are_the_longest() -> None:
    assert limits_of(SEQUENCES) == {"shortlist": 4, "refine": 9, "whole": 13}


def test_text_form_reads_lines() -> None:
    tokenizer = byte_level(["one two three"])
    form = text_form(tokenizer, SEQUENCES)
    assert form.read("refine", tokenizer("one\n\n two \n")["input_ids"]) == ["one", "two"]
    assert form.stops["refine"] == {tokenizer.eos_token_id}


def test_text_form_refuses_a_tokenizer_without_an_end() -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=word_level(["a"]).backend_tokenizer)  # type: ignore[no-untyped-call]  # theirs
    with pytest.raises(ModelRefusedError, match="no end token"):
        text_form(plain, SEQUENCES)


def unit(angle: float) -> Vectors:
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def counted(calls: list[list[str]]) -> Meaning:
    def embed(texts: list[str]) -> Vectors:
        calls.append(texts)
        return np.stack([unit(float(text)) for text in texts])

    return Meaning({"a": unit(0)}, {"a": np.stack([unit(0), unit(np.pi / 2)])}, embed)


def test_meaning_embeds_every_text_once() -> None:
    calls: list[list[str]] = []
    meaning = counted(calls)
    meaning.learn(["1", "2", "1"])
    meaning.focus("a", ["2", "3"])
    meaning.confusion("a", ["3", "1"])
    assert calls == [["1", "2"], ["3"]]


def test_trajectory_rows_are_means_by_position() -> None:
    rows = trajectory_rows("a", ["0", "0.5", "1.0", "1.5"], counted([]), 2)
    angles = np.array([0, 0.5, 1.0, 1.5])
    focus, confusion = np.cos(angles), (np.cos(angles) + np.sin(angles)) / 2
    expected = [
        ("a", "focus", 0.25, focus[:2].mean(), 2), ("a", "focus", 0.75, focus[2:].mean(), 2),
        ("a", "confusion", 0.25, confusion[:2].mean(), 2), ("a", "confusion", 0.75, confusion[2:].mean(), 2),
    ]  # fmt: skip
    assert [row[:3] for row in rows.rows()] == [row[:3] for row in expected]
    np.testing.assert_allclose(rows["value"].to_numpy(), [row[3] for row in expected], atol=1e-6)
    assert rows["step_count"].to_list() == [2, 2, 2, 2]


def test_trajectory_rows_without_steps_are_none() -> None:
    assert trajectory_rows("a", [], counted([]), 2).is_empty()
