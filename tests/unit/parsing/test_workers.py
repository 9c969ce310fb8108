import gc
import pickle
from collections.abc import Iterator

import pytest

from tasks.parsing.workers import fitting_processes, read_parts
from tests.unit.parsing.catalogue import ID, NAME, small_catalogue
from tests.unit.parsing.test_tables import raw_rows


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("is_on", [True, False])
def test_read_parts_leave_the_garbage_collector_as_it_was(is_on: bool, collector: None) -> None:
    if not is_on:
        gc.disable()
    assert len([*read_parts([raw_rows({"completion_text": "vim"})], small_catalogue(), 1)]) == 1
    assert gc.isenabled() == is_on


@pytest.mark.parametrize(
    ("row_count", "core_count", "expected"), [(0, 8, 1), (4095, 8, 1), (8192, 8, 2), (100_000, 8, 8), (100_000, 1, 1)]
)
def test_fitting_processes_leave_none_with_few_answers(row_count: int, core_count: int, expected: int) -> None:
    assert fitting_processes(row_count, core_count) == expected


def test_a_catalogue_reads_the_same_in_another_process() -> None:
    here = small_catalogue()
    there = pickle.loads(pickle.dumps(here))
    text = f"{NAME['vim']} beside less and Mercury"
    assert list(there.find_names(text, 0, len(text))) == list(here.find_names(text, 0, len(text)))
    assert there.lookup("works-with::image") == here.lookup("works-with::image")
    assert there.lookup(str(ID["git"]), takes_ids=True) == here.lookup(str(ID["git"]), takes_ids=True)
    assert there.is_plain_name("vim", ID["vim"])
