import numpy as np
import polars as pl
import pytest

from tasks.fidelity.trajectories import distances, mean_tracks, student_track
from tasks.open_models.own_traces import TRACK
from tasks.open_models.spoken import Meaning
from tasks.sequences.compact import read_compact

NAMES = {0: "map", 1: "game"}
LABEL_IDS = {"@0": 0, "@1": 1}


def track(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    named = [(document, quantity, position, value, 2) for document, quantity, position, value in rows]
    return pl.DataFrame(named, schema=pl.Schema(TRACK), orient="row")


def test_distances_are_means_over_the_positions_both_have() -> None:
    ours = track(("a", "focus", 0.25, 0.5), ("a", "focus", 0.75, 0.1), ("b", "focus", 0.25, 0.3), ("a", "confusion", 0.25, 0.9))
    theirs = track(("a", "focus", 0.25, 0.4), ("a", "focus", 0.75, 0.4), ("b", "focus", 0.75, 0.3), ("a", "confusion", 0.25, 0.8))
    found = distances(ours, theirs, "focus", ["b", "a", "c"])
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == pytest.approx((0.1 + 0.3) / 2)
    assert distances(ours, theirs, "confusion", ["a"]) == pytest.approx([0.1])


def test_a_student_that_writes_what_the_teacher_writes_is_at_distance_0() -> None:
    ours = track(("a", "focus", 0.25, 0.5), ("a", "focus", 0.75, 0.1))
    assert distances(ours, ours, "focus", ["a"]).tolist() == [0.0]


def test_mean_tracks_are_over_the_seeds_that_have_a_step() -> None:
    first = track(("a", "focus", 0.25, 0.2), ("a", "focus", 0.75, 0.6))
    second = track(("a", "focus", 0.25, 0.4))
    assert mean_tracks([first, second])["value"].to_list() == pytest.approx([0.3, 0.6])
    assert mean_tracks([first, second])["step_count"].to_list() == [4, 2]


def test_student_track_follows_what_is_said_and_has_no_row_for_silence() -> None:
    vectors = {"map": [1.0, 0.0], "game": [0.0, 1.0]}
    meaning = Meaning(
        {"a": np.array([1.0, 0.0], np.float32), "b": np.array([1.0, 0.0], np.float32)},
        {"a": np.array([[0.0, 1.0]], np.float32)},
        lambda texts: np.array([vectors[text] for text in texts], np.float32),
    )
    written = {"a": read_compact("<shortlist> @0 @1 <answer>", LABEL_IDS), "b": read_compact("<end>", LABEL_IDS)}
    found = student_track(written, NAMES, meaning, 2)
    assert set(found["document_id"]) == {"a"}
    assert found.filter(quantity="focus")["value"].to_list() == [1.0, 0.0]
    assert found.filter(quantity="confusion")["value"].to_list() == [0.0, 1.0]
