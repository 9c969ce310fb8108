import numpy as np
import polars as pl

from schemas.tables import CORE_ANSWERS, CORE_NEAR_MISSES, CORE_RELEVANCE, CORE_SHORTLIST, CORE_TRACES, OUT_VERDICTS
from tasks.labels.near_misses import NONE_NEAR, NearMisses
from tasks.phases.claims import Asked
from tasks.phases.curves import TraceMeasures
from tasks.phases.findings import judge_phases, near_miss_rows, trajectory_rows, verdict_rows
from tasks.phases.variants import TraceLists

ASKED = Asked("some-model", 100, 0, 0.1)
NOTHING = TraceLists(CORE_TRACES.empty(), CORE_SHORTLIST.empty(), CORE_ANSWERS.empty(), CORE_RELEVANCE.empty())
NEAR = NearMisses(np.array([7, 3], np.int32), np.array([0.75, 0.5], np.float32))


def measures(near: NearMisses = NONE_NEAR) -> TraceMeasures:
    return TraceMeasures([("focus", 0.25, 0.5, 2)], near, (0.5, 0.25), None)


def test_judge_phases_gives_a_verdict_on_every_claim_even_where_little_was_measured() -> None:
    found = judge_phases([measures()] * 12, NOTHING, "teacher", ASKED)
    standings = dict(found.verdicts.select("claim", "standing").iter_rows())
    assert standings == {"focus_early": "holds"} | dict.fromkeys(
        ("confusion_late", "refinement_helps", "isolated", "complementary"), "not_measured"
    )
    assert found.verdicts["document_count"].to_list() == [12, 0, 0, 0, 0]
    assert found.metrics.is_empty() and found.contrasts.is_empty()


def test_judge_phases_of_no_trace_measures_nothing() -> None:
    assert set(judge_phases([], NOTHING, "teacher", ASKED).verdicts["standing"]) == {"not_measured"}


def test_rows_fit_their_tables() -> None:
    verdicts = judge_phases([measures()], NOTHING, "teacher", ASKED).verdicts
    assert OUT_VERDICTS.conform(verdicts.with_columns(run_id=pl.lit("r"), dataset=pl.lit("d"))).height == 5
    assert verdict_rows([], "teacher").is_empty()
    near = near_miss_rows(["a", "b"], [measures(NEAR), measures()])
    assert near.rows() == [("a", 1, 7, 0.75), ("a", 2, 3, 0.5)]
    assert CORE_NEAR_MISSES.conform(near.with_columns(dataset=pl.lit("d"))).height == 2


def test_trajectory_rows_carry_their_document() -> None:
    rows = trajectory_rows("teacher", ["a", "b"], [measures(), measures()]).rows()
    assert rows == [("teacher", "a", "focus", 0.25, 0.5, 2), ("teacher", "b", "focus", 0.25, 0.5, 2)]
