"""What a training step of `mechanistic` costs beside one of `cot`, at two sizes of student; `-s` shows the figures.

Both students see the same batches of drawn traces, step after step in turn, all six terms on from the first step; in a stage the
first tenth of the steps has none of them, so its trainings as a whole cost a little less. The teacher has the size of the decoder
that is trained here and its signals come from disk, as in a stage; making them once for all students is not counted.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Int

from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.cached_signals import teacher_signals, teacher_slices
from tasks.decoder_students.guides import Guide, TokensAlone
from tasks.decoder_students.imitation import Tutor, Watched, student_profiles
from tasks.decoder_students.learner import Learner, small_learner
from tasks.decoder_students.lecturer import Lecturer, heads_by_phase, make_lecturer
from tasks.decoder_students.matching import Slot
from tasks.decoder_students.material import Lessons, Reader
from tasks.decoder_students.methods import teaching_of
from tasks.decoder_students.training import Training
from tasks.open_models.factorised import Sizes, build_decoder
from tasks.open_models.lessons import draw_batches
from tests.bench.head_sides import OFFLINE, draw_sequence, make_setup, peak_mb
from warehouse.signal_store import open_signals

pytestmark = pytest.mark.bench

RESULTS = Path(__file__).parent / "results" / "mechanistic_step.json"
BUDGET = 1.5
WARM_UP, DRAWS = 3, 2000
D_EMBEDDER = 384
DOCUMENTS = 128
TEACHER = replace(OFFLINE, documents=DOCUMENTS)
SLOTS = (Slot("p1", 0, 1), Slot("p1", 1, 6), Slot("p1", 2, 0), Slot("p2", 3, 2), Slot("p2", 4, 5), Slot("p2", 5, 7))
"""As many heads a phase as the settings ask for by default."""

METHODS: tuple[DecoderMethod, ...] = ("cot", "mechanistic")


@dataclass(frozen=True)
class Case:
    """A student's size, and rounds that are measured."""

    sizes: Sizes
    rounds: int

    @property
    def settings(self) -> DecoderStudentsConfig:
        """Those of the stage by default, but for the size and for heads being matched before the first step."""
        body = asdict(self.sizes)
        return DecoderStudentsConfig(train_steps=WARM_UP + self.rounds, match_frac=0, device="cpu", **body)


SMALL, LARGE = Case(Sizes(2, 64, 4, 4), 60), Case(Sizes(4, 256, 8, 8), 30)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def teach(root: Path) -> Lecturer:
    """The teacher, its signals stored below a folder."""
    setup = make_setup(TEACHER)
    kept = heads_by_phase(SLOTS)
    store = open_signals(root, "bench", ["drawn"], DOCUMENTS)
    store.fill(lambda places: teacher_signals(setup.parts, [setup.sequences[place] for place in places], kept, 0, 16))
    slices = store.take_shared(lambda: teacher_slices(setup.parts, kept))
    learner = Learner(setup.parts.body, setup.parts, lambda: setup.model)
    profiles = student_profiles(learner, Watched(setup.sequences[:32], 0))
    return make_lecturer(store, slices, kept, setup.sequences, profiles, setup.parts.d_model)


def training(method: DecoderMethod, case: Case, lecturer: Lecturer) -> Training:
    """A training before its first step."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(TEACHER.vocabulary, D_EMBEDDER, generator=draw))
    learner = small_learner(build_decoder(case.sizes, vectors, TEACHER.tokens, 0, 1, seed=0))
    every = Reader(None, -1, None, TEACHER.tokens).lessons(lecturer.sequences, has_trace=True)
    lessons = Lessons(every, [], [len(one.token_ids) for one in every], 0)
    return Training(learner, lessons, guide_of(method, case.settings, lecturer, learner), case.settings, 0, method)


def guide_of(method: DecoderMethod, settings: DecoderStudentsConfig, lecturer: Lecturer, learner: Learner) -> Guide:
    """What is taught besides tokens."""
    teaching = teaching_of(method)
    if not teaching.terms:
        return TokensAlone()
    watched = Watched([draw_sequence(TEACHER, DOCUMENTS + seed) for seed in range(settings.match_documents)], 0)
    return Tutor(teaching, settings, lecturer, watched, SLOTS, learner, 0)


def step_seconds(case: Case, lecturer: Lecturer) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU seconds of each step by method, and the most megabytes that one more step takes.

    Both methods take every batch, each first in every other round; the first rounds, in which heads are matched, do not count.
    """
    made = {method: training(method, case, lecturer) for method in METHODS}
    lengths, settings = made["cot"].lessons.lengths, case.settings
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    places = np.arange(0)
    for number, places in enumerate(draw_batches(lengths, settings.batch_size, settings.train_steps, 0)):
        for method in METHODS if number % 2 else reversed(METHODS):
            started = time.process_time()
            _step(made[method], number, places)
            taken[method].append(time.process_time() - started)
    last = settings.train_steps - 1
    memory = {str(method): peak_mb(partial(_step, one, last, places)) for method, one in made.items()}
    return {method: seconds[WARM_UP:] for method, seconds in taken.items()}, memory


def _step(made: Training, step: int, places: Int[np.ndarray, " document"]) -> None:
    made._step(step, places)


def median_with_interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """The median over rounds, and the 95% interval of rounds drawn again."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), (0.025, 0.975))
    return {"median": float(np.median(values)), "ci_low": float(low), "ci_high": float(high)}


def keep(part: str, figures: Any) -> None:
    """Show figures and put them into the results file."""
    sys.stdout.write(f"\n{part}: {json.dumps(figures, indent=1)}\n")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {part: figures}, indent=1) + "\n")


@pytest.mark.parametrize("case", [SMALL, LARGE], ids=["2x64", "4x256"])
def test_a_mechanistic_step_costs_at_most_one_and_a_half_of_a_plain_one(case: Case, tmp_path: Path) -> None:
    seconds, memory = step_seconds(case, teach(tmp_path))
    by_method = {method: np.array(values) for method, values in seconds.items()}
    ratio = median_with_interval(by_method["mechanistic"] / by_method["cot"])
    figures = {
        "student": asdict(case.sizes), "teacher": asdict(TEACHER), "batch_size": case.settings.batch_size, "rounds": case.rounds,
        "cpu_s_a_step": {method: median_with_interval(values) for method, values in by_method.items()}, "ratio": ratio,
        "peak_mb_of_a_step": memory,
    }  # fmt: skip
    keep(f"{case.sizes.layers} x {case.sizes.d_model}", figures)
    assert ratio["median"] <= BUDGET
