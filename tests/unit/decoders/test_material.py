"""Who is trained on, who is not, and what is refused."""

import pytest

from schemas.errors import TrainingError
from tasks.decoders.material import prepare
from tests.unit.decoders.lessons_of import SETTINGS, TOKENS, texts


def test_prepare_splits_by_seed_without_overlap() -> None:
    made, other = prepare(texts(), TOKENS, SETTINGS), prepare(texts(), TOKENS, SETTINGS.model_copy(update={"seed": 1}))
    dev = {text.document_id for text in made.dev}
    assert len(dev) == 3
    assert not dev & {text.document_id for text in made.train}
    assert len(dev | {text.document_id for text in made.train}) == 30
    assert dev != {text.document_id for text in other.dev}
    assert made.dev == prepare(texts(), TOKENS, SETTINGS).dev


@pytest.mark.parametrize(("frac", "count"), [(0.0, 1), (1.0, 29)])
def test_prepare_always_has_a_text_of_each_kind(frac: float, count: int) -> None:
    assert len(prepare(texts(), TOKENS, SETTINGS.model_copy(update={"dev_frac": frac})).dev) == count


def test_prepare_takes_no_word_from_development_texts() -> None:
    made = prepare(texts(), TOKENS, SETTINGS.model_copy(update={"dev_frac": 0.9}))
    assert set(made.vocabulary.words) == {word for text in made.train for word in text.text[10 : text.document.end].split()}


def test_prepare_refuses_too_few_traces() -> None:
    with pytest.raises(TrainingError, match=r"19 train documents.*20 are needed"):
        prepare(texts(19), TOKENS, SETTINGS)
