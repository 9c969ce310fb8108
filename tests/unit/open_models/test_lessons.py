"""Which tokens are learnt, in which phase, and in which batch."""

import numpy as np
import pytest

from tasks.open_models.lessons import PHASES, draw_batches, make_batch, make_lesson
from tasks.sequences.compact import MARKS

TEXT = "<document> a zz <shortlist> @a zz <refine> <keep> @a a <answer> @a <end>"
IDS = {token: place for place, token in enumerate([*MARKS, "a", "@a", "zz"])}
UNKNOWN = IDS["zz"]


def test_make_lesson_counts_a_token_to_the_phase_it_is_written_in() -> None:
    lesson = make_lesson([IDS[token] for token in TEXT.split()], IDS, UNKNOWN)
    named = {token: (PHASES[p] if p >= 0 else None) for token, p in zip(TEXT.split(), lesson.phases, strict=True)}
    assert [PHASES[p] if p >= 0 else None for p in lesson.phases] == [
        None, None, None, "shortlist", "shortlist", None, "shortlist", "refine", "refine", "refine", "refine", "answer", "answer",
    ]  # fmt: skip
    assert (named["<answer>"], named["<end>"]) == ("refine", "answer")


def test_make_batch_predicts_each_learnt_token_from_the_row_before_it() -> None:
    lesson = make_lesson([IDS[token] for token in TEXT.split()], IDS, UNKNOWN)
    short = make_lesson([IDS[token] for token in ["<document>", "<shortlist>", "@a"]], IDS, UNKNOWN)
    batch = make_batch([short, lesson], 99)
    flat = batch.token_ids.flatten()
    assert flat[batch.rows + 1].tolist() == batch.targets.tolist()
    assert 99 not in batch.targets
    assert len(batch.rows) == (lesson.phases >= 0).sum() + 2
    assert batch.phases.tolist()[:2] == [0, 0]
    assert batch.rows.tolist()[:2] == [0, 1]


def test_draw_batches_gives_every_lesson_once_a_pass_and_the_same_again() -> None:
    lengths = list(np.random.default_rng(3).integers(5, 50, 64))
    drawn = [batch.tolist() for batch in draw_batches(lengths, 8, 16, 0)]
    for start in (0, 8):
        assert sorted(place for batch in drawn[start : start + 8] for place in batch) == list(range(64))
    assert drawn == [batch.tolist() for batch in draw_batches(lengths, 8, 16, 0)]
    assert drawn != [batch.tolist() for batch in draw_batches(lengths, 8, 16, 1)]
    assert drawn[:5] == [batch.tolist() for batch in draw_batches(lengths, 8, 5, 0)]


def test_draw_batches_puts_like_lengths_together() -> None:
    lengths = list(range(64))
    assert all(max(batch) - min(batch) == 7 for batch in draw_batches(lengths, 8, 8, 0))


@pytest.mark.parametrize(("count", "size"), [(3, 8), (8, 8), (9, 4)])
def test_draw_batches_gives_as_many_as_asked(count: int, size: int) -> None:
    drawn = list(draw_batches([5] * count, size, 7, 0))
    assert [len(batch) for batch in drawn] == [min(size, count)] * 7
