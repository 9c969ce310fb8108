"""Are the two phases there? Verdicts in words, the teacher's variants with intervals, refinement gain, relative Confusion."""

from collections.abc import Mapping

import polars as pl

from tasks.reports.cells import NO_VALUE, Cell, Grid, p_text, percent_range_text, percent_text
from tasks.reports.charts import DotChart, LineChart, Mark, Point, Series, dot_chart, line_chart
from tasks.reports.curves import X_LABEL, mean_by_position
from tasks.reports.frames import Facts, Frames, Section, missing_note
from tasks.reports.results import story_place

CLAIMS = {
    "focus_early": "Focus is higher while shortlisting",
    "confusion_late": "Confusion falls while refining",
    "refinement_helps": "Refining raises precision",
    "isolated": "Each phase works alone",
    "complementary": "Each phase adds to the other",
}
STANDINGS = {"holds": "holds", "fails": "does not hold", "undecided": "open", "not_measured": "not measured"}
VARIANTS = {
    "both": ("both phases", "in one answer"),
    "phase-1": ("phase 1 alone", "its answer: its first labels, as many as phase 2 keeps of them"),
    "phase-2-teacher": ("phase 2, own list", "given the teacher's own shortlist of phase 1"),
    "phase-2-index": ("phase 2, index's list", "given the labels that the index finds"),
    "phase-2-stranger": ("phase 2, other's list", "given the shortlist of another document: a control"),
}
"""Each variant as it is called on the page, and what it is."""

METRICS = {
    "shortlist_recall": "shortlist recall",
    "shortlist_precision": "shortlist precision",
    "answer_precision": "answer precision",
    "answer_recall": "answer recall",
    "answer_f1": "answer F1",
}
F1, RECALL = "answer_f1", "shortlist_recall"
SHAPE = "diamond"
RELATIVE = "confusion_relative"

Values = Mapping[tuple[str, str], tuple[float, float, float]]
"""Value and ends of its interval by (variant, metric), as shares 0 to 1."""


def phase_section(facts: Facts, frames: Frames) -> Section:
    """What the traces say of the two phases, each claim with how it stands in words."""
    slug, title = "phases", "Are the two phases there?"
    if frames.verdicts is None:
        return Section(slug, title, (missing_note("out_verdicts", facts.dataset),))
    notes = [
        "A claim holds, or does not hold, only where the whole 95% interval of a difference, paired by document, says so; "
        "otherwise it is open. The sentences are about the traces of this teacher on this dataset.",
    ]
    values = {} if frames.phase_metrics is None else variant_values(frames.phase_metrics)
    charts: list[DotChart | LineChart] = []
    if len({variant for variant, _ in values}) > 1:
        charts += variant_charts(values)
        notes.append("Phases asked for apart: on the same documents, against their known targets.")
    if frames.phase_contrasts is not None:
        charts += contrast_charts(frames.phase_contrasts)
    if frames.trajectories is not None:
        charts += [*gain_chart(frames.trajectories), *relative_chart(frames.trajectories)]
    grids = (variant_grid(values),) if values else ()
    return Section(slug, title, tuple(notes), tuple(charts), grids, lead_grids=(verdict_grid(frames.verdicts),))


def verdict_grid(verdicts: pl.DataFrame) -> Grid:
    """Every claim about the text: how it stands, and the sentence with its numbers."""
    rows = {row["claim"]: row for row in verdicts.iter_rows(named=True)}
    lines = tuple(
        (Cell(words), Cell(STANDINGS[rows[claim]["standing"]], is_best=True), Cell(rows[claim]["sentence_text"]))
        for claim, words in CLAIMS.items()
        if claim in rows
    )
    return Grid("verdicts", "Claims about the two phases, and how they stand", ("claim", "verdict", "in words"), lines, (1, 2))


def variant_values(metrics: pl.DataFrame) -> Values:
    """The values of the variants; what is before the slash of a system's name is left out."""
    rows = metrics.select("system", "metric", "value", "ci_low", "ci_high").iter_rows()
    return {(str(system).rpartition("/")[2], str(metric)): (value, low, high) for system, metric, value, low, high in rows}


def variant_grid(values: Values) -> Grid:
    """Variants by metrics, in percent with intervals."""
    rows = tuple(
        (Cell(name, what), *(_percent_cell(values.get((variant, metric))) for metric in METRICS))
        for variant, (name, what) in VARIANTS.items()
        if any(known == variant for known, _ in values)
    )
    caption = "Phases asked for together and apart, in percent, with 95% intervals"
    return Grid("variants", caption, ("asked for", *METRICS.values()), rows)


def _percent_cell(value: tuple[float, float, float] | None) -> Cell:
    return Cell(NO_VALUE) if value is None else Cell(percent_text(value[0]), percent_range_text(value[1], value[2]))


def variant_charts(values: Values) -> list[DotChart]:
    """Shortlist recall and answer F1 of the variants that have one."""
    charts = []
    for metric, title in ((RECALL, "Shortlist recall"), (F1, "Answer F1, precision and recall in one")):
        found = {variant: values[variant, metric] for variant in VARIANTS if (variant, metric) in values}
        marks = [Mark(VARIANTS[name][0], 100 * mean, 100 * low, 100 * high, SHAPE) for name, (mean, low, high) in found.items()]
        if marks:
            charts.append(dot_chart(f"variants-{metric.replace('_', '-')}", title, "percent", marks))
    return charts


def contrast_charts(contrasts: pl.DataFrame) -> list[DotChart]:
    """Paired differences in F1: of each variant and both phases in one answer, and of phase 2 on its own list and on less."""
    rows = contrasts.filter(pl.col("metric") == F1).with_columns(pl.col("system", "baseline").str.split("/").list.last())
    against = {row["system"]: row for row in rows.filter(baseline="both").iter_rows(named=True)}
    own = {row["baseline"]: row for row in rows.filter(pl.col("baseline") != "both").iter_rows(named=True)}
    titles = (
        ("phases-against-both", "Answer F1, minus that of both phases in one answer", against),
        ("phases-own-list", "Answer F1 of phase 2 on its own list, minus that of", own),
    )
    return [
        dot_chart(
            slug, title, "percentage points", [_mark(name, found[name]) for name in VARIANTS if name in found], has_zero=True
        )
        for slug, title, found in titles
        if found
    ]


def _mark(variant: str, row: Mapping[str, float]) -> Mark:
    mean, low, high = (100 * row[name] for name in ("difference", "ci_low", "ci_high"))
    return Mark(VARIANTS[variant][0], mean, low, high, SHAPE, p_text(row["p_value"]))


def gain_chart(trajectories: pl.DataFrame) -> list[LineChart]:
    """Refinement gain by position, if it was measured."""
    title = "Refinement gain: precision of what is still kept, minus that of the shortlist"
    return _curves("refinement-gain", title, trajectories.filter(pl.col("quantity") == "refinement_gain"))


def relative_chart(trajectories: pl.DataFrame) -> list[LineChart]:
    """Confusion minus its reference by position, paired by document, if it was measured."""
    title = "Confusion minus its reference, the Confusion of the targets themselves"
    return _curves("relative-confusion", title, relative_confusion(trajectories))


def relative_confusion(trajectories: pl.DataFrame) -> pl.DataFrame:
    """Rows of `core_trajectories` of Confusion minus its reference, of the same document and position."""
    key = ["dataset", "system", "document_id", "position"]
    floor = trajectories.filter(pl.col("quantity") == "confusion_floor").select(*key, floor="value")
    pairs = trajectories.filter(pl.col("quantity") == "confusion").join(floor, on=key)
    return pairs.with_columns(value=pl.col("value") - pl.col("floor"), quantity=pl.lit(RELATIVE)).drop("floor")


def _curves(slug: str, title: str, rows: pl.DataFrame) -> list[LineChart]:
    means = mean_by_position(rows)
    columns = ("x", "mean", "low", "high", "document_count")
    series = [
        Series(system, tuple(Point(*row) for row in means.filter(system=system).select(columns).iter_rows()))
        for system in sorted(means["system"].unique(), key=story_place)
    ]
    return [line_chart(slug, title, X_LABEL, series, x_range=(0.0, 1.0))] if series else []
