import json

import numpy as np
import pytest

from schemas.errors import ConfigError
from tasks.trials.drawing import Range, Trial, draw_trials, refuse_reported_seeds

SPACE = (Range("rate", 1e-4, 1e-2), Range("weight", 0.1, 10.0))
DEFAULTS = {"rate": 2e-3, "weight": 0.3, "other": 1.0}


def test_draw_trials_begins_with_the_default_and_only_it_if_one_is_asked_for() -> None:
    assert draw_trials(SPACE, DEFAULTS, 1, 0) == [Trial(0, (("rate", 2e-3), ("weight", 0.3)))]
    assert draw_trials(SPACE, DEFAULTS, 5, 0)[0] == draw_trials(SPACE, DEFAULTS, 1, 3)[0]


def test_draw_trials_longer_begins_with_the_shorter_and_another_seed_differs() -> None:
    assert draw_trials(SPACE, DEFAULTS, 12, 0)[:5] == draw_trials(SPACE, DEFAULTS, 5, 0)
    assert draw_trials(SPACE, DEFAULTS, 5, 1)[1:] != draw_trials(SPACE, DEFAULTS, 5, 0)[1:]


def test_draw_trials_stays_within_bounds_and_is_even_on_the_log_scale() -> None:
    drawn = np.array([[value for _, value in trial.values] for trial in draw_trials(SPACE, DEFAULTS, 401, 0)[1:]])
    assert ((drawn >= [1e-4, 0.1]) & (drawn <= [1e-2, 10.0])).all()
    below = (drawn < [1e-3, 1.0]).mean(axis=0)  # the middles of both ranges on the log scale
    assert (abs(below - 0.5) < 4 * 0.5 / 20).all()


def test_setting_json_reads_back_to_what_is_trained_with() -> None:
    trial = draw_trials(SPACE, DEFAULTS, 2, 0)[1]
    assert json.loads(trial.setting_json) == trial.of(("rate", "weight"))
    assert trial.of(("weight", "unknown")).keys() == {"weight"}


def test_refuse_reported_seeds_names_them() -> None:
    refuse_reported_seeds((100,), (0, 1, 2), "distill")
    with pytest.raises(ConfigError, match=r"holds \[2\] of distill\.seeds"):
        refuse_reported_seeds((2, 100), (0, 1, 2), "distill")
