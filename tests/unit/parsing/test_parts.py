from tasks.parsing.parts import best_parts


def test_best_parts_joins_pieces_in_order() -> None:
    assert best_parts([{"shortlist": 1}, {"steps": 2, "answer": 3}]) == {"shortlist": 1, "steps": 2, "answer": 3}


def test_best_parts_takes_the_row_with_the_most_parts_and_the_first_of_equals() -> None:
    echo, whole, noise = {"answer": 0}, {"shortlist": 1, "answer": 2}, {"shortlist": 3, "answer": 4}
    assert best_parts([echo, whole, noise, echo]) == whole


def test_best_parts_fills_up_a_shortlist_or_steps_but_never_an_answer() -> None:
    assert best_parts([{"steps": 1}, {"shortlist": 2, "answer": 3}]) == {"steps": 1, "shortlist": 2, "answer": 3}
    assert best_parts([{"answer": 0}, {"shortlist": 1, "steps": 2}]) == {"shortlist": 1, "steps": 2}


def test_best_parts_goes_by_weight() -> None:
    assert best_parts([{"shortlist": 1, "answer": 1}, {"answer": 5}], lambda value: value) == {"shortlist": 1, "answer": 5}


def test_best_parts_of_nothing_is_nothing() -> None:
    assert best_parts([]) == best_parts([{}, {}]) == {}
