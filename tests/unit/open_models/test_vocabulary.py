"""Which labels and words have a token, and what the tokenizer makes of a text."""

import pytest

from schemas.errors import TrainingError
from tasks.open_models.vocabulary import FIRST, choose_vocabulary, make_tokenizer
from tests.unit.decoders.lessons_of import TOKENS, texts


def test_choose_vocabulary_takes_the_labels_and_words_of_most_texts() -> None:
    few = choose_vocabulary(texts(4), TOKENS, 2, 3)
    assert few.label_tokens == ("@vim", "@gimp")
    assert few.words == ("about", "plainly", "vim")
    assert few.tokens == (*FIRST, "@vim", "@gimp", "about", "plainly", "vim")


def test_choose_vocabulary_leaves_out_labels_that_no_trace_names() -> None:
    assert choose_vocabulary(texts(), TOKENS, 100, 100).label_ids == (1, 3, 4)


def test_choose_vocabulary_refuses_texts_without_a_label() -> None:
    with pytest.raises(TrainingError, match="no trace"):
        choose_vocabulary(texts(), {9: "@stranger"}, 10, 10)


def test_make_tokenizer_knows_its_tokens_and_no_others() -> None:
    tokenizer = make_tokenizer(choose_vocabulary(texts(), TOKENS, 100, 100), 9)
    written = texts()[0].text
    ids = tokenizer(written)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == written
    assert tokenizer.convert_ids_to_tokens(tokenizer("about @vim_gtk <end> abouts")["input_ids"]) == [
        "about", "<unk>", "<end>", "<unk>",
    ]  # fmt: skip
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token) == ("<pad>", "<end>", "<unk>")
