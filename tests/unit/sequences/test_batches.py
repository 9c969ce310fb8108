"""Padding moves positions by its offsets, and nothing else."""

import numpy as np
import pytest

from tasks.sequences.batches import Side, by_length, pad
from tasks.sequences.tokens import tokenize
from tests.support.tiny_tokenizers import word_level
from tests.unit.sequences.test_tokens import annotated_compact


@pytest.mark.parametrize("side", ["left", "right"])
def test_pad_keeps_every_token_at_its_position_plus_the_offset(side: Side) -> None:
    sequences = [[5, 6, 7], [8], [9, 10]]
    batch = pad(sequences, 0, side)
    for row, one in enumerate(sequences):
        places = np.arange(len(one)) + batch.offsets[row]
        assert batch.token_ids[row, places].tolist() == one
        assert batch.position_ids[row, places].tolist() == list(range(len(one)))
        assert batch.attention_mask[row, places].tolist() == [1] * len(one)
    assert batch.attention_mask.sum() == 6
    assert batch.token_ids.sum() == 45


def test_pad_left_ends_every_row_with_its_last_token() -> None:
    assert pad([[5, 6], [7]], 0, "left").token_ids[:, -1].tolist() == [6, 7]
    assert pad([[5, 6], [7]], 0, "right").token_ids[:, 0].tolist() == [5, 7]


def test_by_length_gives_each_once_with_the_longest_first() -> None:
    text = annotated_compact()
    tokenizer = word_level([text.text])
    sequences = [tokenize(text, tokenizer, length, {2: "@vim_gtk"}) for length in (4, 9, 2, 7, 5)]
    assert list(by_length(sequences, 2)) == [[1, 3], [4, 0], [2]]
