"""The sample and a stand-in that serves it, for the tests of the trace stage and of the stand-in."""

from collections.abc import Iterator

import pytest

from tests.support.asked_sample import Sample, Served, make_sample, serve


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def served(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(sample, tmp_path_factory.mktemp("served"), faults={"slow_ms": 20.0}) as server:
        yield server
