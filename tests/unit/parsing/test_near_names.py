import numpy as np

from tasks.parsing.near_names import NearNames


def made_up_names(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijkl"), size=n)) for n in rng.integers(3, 9, size=300)]
    return [" ".join(rng.choice(words, size=n)) for n in rng.integers(2, 6, size=count)]


def test_find_has_the_right_name_of_a_mistyped_one_among_few() -> None:
    names = made_up_names(500)
    near = NearNames(names)
    texts = [name[: len(name) // 2] + "x" + name[len(name) // 2 + 1 :] for name in names]
    found = [near.find(text, 10).tolist() for text in texts]
    assert all(place in places and len(places) <= 10 for place, places in enumerate(found))


def test_find_gives_the_nearest_first_and_ties_by_place() -> None:
    near = NearNames(["abcdef", "abcxyz", "abcdef", "qrs"])
    assert near.find("abcdef", 3).tolist() == [0, 2, 1]


def test_find_does_not_depend_on_the_texts_before() -> None:
    names = made_up_names(300)
    near = NearNames(names)
    often = [near.find(name, 10).tolist() for name in names]
    assert often == [NearNames(names).find(name, 10).tolist() for name in names[:20]] + often[20:]
    assert all(places[0] == names.index(name) for name, places in zip(names, often, strict=True))


def test_find_of_a_text_that_shares_nothing_is_empty() -> None:
    assert NearNames(["abcdef"]).find("漢字", 3).tolist() == []
    assert NearNames([]).find("abcdef", 3).tolist() == []


def test_find_reads_rare_trigrams_where_common_ones_would_take_too_long() -> None:
    names = [f"library of things {number:05d}" for number in range(3000)]
    assert NearNames(names).find("library of things 01234", 5)[0] == 1234
