import pytest

from tasks.parsing.shared_words import SharedWords

TEXTS = ["vim: enhanced vi editor", "nano: small editor", "A01.0", "Typhoid fever", ""]


def test_most_shared_is_1_for_the_same_words_in_any_order_and_0_for_other_words() -> None:
    shared = SharedWords(TEXTS)
    assert shared.most_shared("Fever, typhoid!") == pytest.approx(1.0)
    assert shared.most_shared("a river in the north") == 0.0
    assert shared.most_shared("?") == 0.0


def test_most_shared_weighs_rare_words_more_and_counts_what_is_left_out() -> None:
    shared = SharedWords(TEXTS)
    assert shared.most_shared("small nano") > shared.most_shared("small editor") > shared.most_shared("editor")
    assert shared.most_shared("typhoid") < 1


def test_may_be_near_takes_a_description_and_not_words_of_many_labels() -> None:
    shared = SharedWords(TEXTS)
    assert shared.may_be_near("an enhanced vi editor")
    assert not shared.may_be_near("vi small fever 0")


def test_may_be_near_takes_a_text_of_new_words_for_only_its_embedding_can_tell() -> None:
    assert SharedWords(TEXTS).may_be_near("program for writing")


def test_shared_words_of_no_texts_are_none() -> None:
    assert SharedWords([]).most_shared("vim") == 0.0
