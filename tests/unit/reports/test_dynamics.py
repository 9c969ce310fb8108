import polars as pl

from tasks.reports.dynamics import beside_charts, dynamics_charts, shared_documents
from tests.unit.reports.report_frames import HEAD_TRAJECTORIES, TRAJECTORIES


def test_dynamics_charts_put_both_attentions_into_one_chart() -> None:
    attention, helps = dynamics_charts(HEAD_TRAJECTORIES)
    assert [line.label for line in attention.lines] == ["to a kept candidate", "to a dropped candidate"]
    assert [line.label for line in helps.lines] == ["decoder"]
    # documents of 0.2 and 0.3 at the beginning, 0.4 and 0.5 at the end
    assert [row[1].text for row in attention.data.rows] == ["0.250", "0.450"]
    assert attention.data.rows[0][1].detail.endswith("n = 2")


def test_dynamics_charts_leave_out_what_was_not_measured() -> None:
    only = HEAD_TRAJECTORIES.filter(pl.col("quantity") == "ov_helpfulness")
    assert [chart.slug for chart in dynamics_charts(only)] == ["dynamics-ov"]
    assert dynamics_charts(HEAD_TRAJECTORIES.clear()) == ()


def test_dynamics_charts_name_the_systems_where_there_are_several() -> None:
    both = pl.concat([HEAD_TRAJECTORIES, HEAD_TRAJECTORIES.with_columns(system=pl.lit("other"))])
    assert [line.label for line in dynamics_charts(both)[0].lines][:2] == [
        "decoder, to a kept candidate",
        "other, to a kept candidate",
    ]


def test_shared_documents_keeps_those_of_the_decoder() -> None:
    both = shared_documents(HEAD_TRAJECTORIES, TRAJECTORIES)
    assert both.filter(pl.col("system") == "teacher")["document_id"].unique().to_list() == ["d1"]
    assert both.filter(pl.col("system") == "decoder")["document_id"].unique().sort().to_list() == ["d1", "d2"]
    assert set(both["quantity"]) == {"focus", "confusion", "confusion_floor"}
    assert set(shared_documents(HEAD_TRAJECTORIES, None)["system"]) == {"decoder"}


def test_beside_charts_put_the_teacher_first_and_the_floor_last() -> None:
    focus, confusion = beside_charts(shared_documents(HEAD_TRAJECTORIES, TRAJECTORIES))
    assert [line.label for line in focus.lines] == ["teacher", "decoder"]
    assert [(line.label, line.is_reference) for line in confusion.lines] == [
        ("teacher", False),
        ("decoder", False),
        ("floor: targets alone", True),
    ]


def test_beside_charts_of_a_decoder_that_generated_nothing_are_none() -> None:
    silent = HEAD_TRAJECTORIES.filter(pl.col("quantity") == "ov_helpfulness")
    assert beside_charts(shared_documents(silent, TRAJECTORIES)) == ()
