"""A tiny student, a tiny teacher of another size, and random sequences that mean nothing to either."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cache

import numpy as np
from transformers import PreTrainedModel

from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.cached_signals import Arrays, teacher_signals, teacher_slices
from tasks.decoder_students.guides import Guide, TokensAlone
from tasks.decoder_students.imitation import Tutor, Watched, student_profiles
from tasks.decoder_students.learner import Learner, folder_learner
from tasks.decoder_students.lecturer import Lecturer, heads_by_phase, make_lecturer
from tasks.decoder_students.matching import Slot
from tasks.decoder_students.material import Lessons, Reader
from tasks.decoder_students.methods import teaching_of
from tasks.decoder_students.training import State, Training
from tasks.open_models.watching import watch_heads
from tests.support.tiny_decoders import tiny_decoder
from tests.unit.heads.drawn_sequences import drawn_sequence

TRAIN = [drawn_sequence(seed, 3 + seed % 3) for seed in range(16)]
DEV = [drawn_sequence(100 + seed) for seed in range(4)]
READER = Reader(None, -1, 0, 64)
SLOTS = (Slot("p1", 0, 1), Slot("p2", 2, 3))
SETTINGS = DecoderStudentsConfig(
    train_steps=8, batch_size=8, learning_rate=1e-3, match_frac=0.25, match_documents=4, checkpoint_steps=2, device="cpu",
    phase1_heads=1, phase2_heads=1,
)  # fmt: skip


def lessons() -> Lessons:
    every = READER.lessons(TRAIN, True)
    return Lessons(every, READER.lessons(DEV, True), [len(one.token_ids) for one in every], 0)


class KeptSignals:
    """Signals that are kept in memory."""

    def __init__(self, arrays: Sequence[Arrays]) -> None:
        self.arrays = arrays

    def read(self, documents: Iterable[int], names: Collection[str] | None = None) -> Iterator[Arrays]:
        for one in documents:
            yield {name: values for name, values in self.arrays[one].items() if names is None or name in names}


@cache
def lecturer() -> Lecturer:
    """The teacher; nothing changes it."""
    parts = watch_heads(tiny_decoder("llama-grouped", 7))
    kept = heads_by_phase(SLOTS)
    store = KeptSignals(teacher_signals(parts, TRAIN, kept, 0, 4, top=5))
    profiles = student_profiles(Learner(parts.body, parts, lambda: tiny_decoder("llama")), Watched(DEV, 0))
    return make_lecturer(store, teacher_slices(parts, kept), kept, TRAIN, profiles, parts.d_model)


def training(
    method: DecoderMethod = "mechanistic-kd",
    settings: DecoderStudentsConfig = SETTINGS,
    seed: int = 0,
    student: PreTrainedModel | None = None,
) -> Training:
    """A training before its first step."""
    learner = folder_learner(student or tiny_decoder("llama", 3), settings.lora_rank, seed)
    teaching = teaching_of(method)
    guide: Guide = TokensAlone()
    if teaching.terms:
        guide = Tutor(teaching, settings, lecturer(), Watched(DEV, 0), SLOTS, learner, seed)
    return Training(learner, lessons(), guide, settings, seed, f"decoder-{method}-seed{seed}")


def trained(method: DecoderMethod = "mechanistic-kd", settings: DecoderStudentsConfig = SETTINGS) -> tuple[Training, list[State]]:
    """A training after its last step, and copies of the states it kept, as a file would hold them."""
    made, kept = training(method, settings), list[State]()
    made.run(lambda state: kept.append(deepcopy(state)))
    return made, kept


def distance(first: Training, second: Training) -> float:
    """Length of the difference of two students' weights, relative to the length of the weights."""
    one, two = (np.concatenate([weight.detach().double().numpy().ravel() for weight in made.own]) for made in (first, second))
    return float(np.linalg.norm(one - two) / np.linalg.norm(one))
