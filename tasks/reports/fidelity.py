"""How decoder students reason: LAS and R@10 by method, and Focus and Confusion along their traces beside the teacher's."""

import polars as pl

from schemas.fields import DECODER_STUDENT
from tasks.reports.cells import NO_VALUE, Cell, Grid, decimal_text, range_text
from tasks.reports.charts import DotChart, LineChart, Mark, Point, Series, dot_chart, line_chart
from tasks.reports.curves import X_LABEL, mean_by_position
from tasks.reports.frames import Facts, Frames, Section
from tasks.reports.results import HEADLINE, Scores, collect_scores

SLUG, TITLE = "reasoning", "How decoder students reason"
TEACHER = "teacher-decoder"
FOLLOWED = (
    TEACHER,
    *(f"{DECODER_STUDENT}{method}" for method in ("cot", "cot-kd", "mechanistic", "mechanistic-random-heads")),
)
"""Systems whose curves are drawn: more than six cannot be told apart."""

COLUMNS = (
    ("las", "LAS"),
    ("las_masked", "LAS, labels masked"),
    ("simulator_accuracy_x", "acc(x)"),
    ("simulator_accuracy_e", "acc(e), leaking"),
    ("simulator_accuracy_xe", "acc(x, e)"),
    ("las_leaking", "gain, leaking"),
    ("las_nonleaking", "gain, others"),
    ("focus_distance", "Focus distance"),
    ("confusion_distance", "Confusion distance"),
    ("token_loss_nats", "token loss, nats"),
    ("format_frac", "form kept"),
)
PANELS = (("focus", "Focus of what is written"), ("confusion", "Confusion of what is written"))


def fidelity_section(facts: Facts, frames: Frames) -> Section:
    """LAS, distances to the teacher and losses of a trace by method, with charts."""
    if frames.fidelity_metrics is None:
        note = (
            "Left out: no decoder student was measured. The commands "
            f"“ctd distill-decoder {facts.dataset}” and “ctd fidelity {facts.dataset}” train and measure them."
        )
        return Section(SLUG, TITLE, (note,))
    scores = collect_all(frames.fidelity_metrics)
    notes = (
        "LAS: how much the rationale helps a linear simulator predict the student's first label beyond the document, averaged "
        "without weights over documents whose rationale alone gives it away (leaking) and the others. It is not defined where a "
        "group is empty. Students that answer without a trace have no rationale.",
        "Distances are to the teacher decoder's own traces of the same documents, means over positions; 0: alike. The token loss "
        "is on the teacher's traces of train documents that no student was trained on. Form kept: share of traces that keep the "
        "form by themselves; unless fidelity.is_form_held is false the others are held to it as they are written.",
    )
    curves = () if frames.fidelity_trajectories is None else reasoning_curves(frames.fidelity_trajectories)
    return Section(SLUG, TITLE, notes, (*ablation_charts(scores, frames.metrics), *curves), (fidelity_grid(scores),))


def collect_all(metrics: pl.DataFrame) -> Scores:
    """The values of fidelity, whatever split they are of."""
    return collect_scores(metrics.with_columns(split=pl.lit("test")))


def ablation_charts(scores: Scores, metrics: pl.DataFrame | None) -> tuple[DotChart, ...]:
    """LAS and, where it was evaluated, R@10 by method."""
    charts = [_dots("reasoning-las", "LAS by method", "difference of accuracies", scores, ("las", 0), 1.0, True)]
    if metrics is not None:
        charts.append(_dots("reasoning-r-10", "R@10 by method", "percent", collect_scores(metrics), HEADLINE, 100.0, False))
    return tuple(chart for chart in charts if chart.rows)


def _dots(slug: str, title: str, unit: str, scores: Scores, what: tuple[str, int], scale: float, has_zero: bool) -> DotChart:
    systems = [system for system in scores.systems if system.startswith(DECODER_STUDENT)]
    marks = [
        Mark(system.removeprefix(DECODER_STUDENT), scale * v.value, scale * v.low, scale * v.high)
        for system in systems
        if (v := scores.get(system, *what)) is not None
    ]
    return dot_chart(slug, title, unit, marks, has_zero, digits=3 if has_zero else 1)


def fidelity_grid(scores: Scores) -> Grid:
    """Systems by measures of how they reason, each with its interval."""
    shown = [(metric, title) for metric, title in COLUMNS if any(scores.get(system, metric, 0) for system in scores.systems)]
    rows = tuple(
        (Cell(system, _seeds(scores, system)), *(_cell(scores, system, metric) for metric, _ in shown))
        for system in scores.systems
    )
    caption = "How decoder students reason, with 95% intervals over documents and seeds below"
    return Grid("reasoning", caption, ("system", *(title for _, title in shown)), rows)


def _seeds(scores: Scores, system: str) -> str:
    counts = sorted({value.seed_count for (name, *_), value in scores.values.items() if name == system})
    return f"{counts[-1]} seeds" if counts[-1] > 1 else ""


def _cell(scores: Scores, system: str, metric: str) -> Cell:
    value = scores.get(system, metric, 0)
    return Cell(NO_VALUE) if value is None else Cell(decimal_text(value.value, 3), range_text(value.low, value.high, 3))


def reasoning_curves(trajectories: pl.DataFrame) -> tuple[LineChart, ...]:
    """Focus and Confusion by relative position, teacher decoder and students side by side on the same documents."""
    means = mean_by_position(trajectories)
    charts = []
    for quantity, title in PANELS:
        rows = means.filter(pl.col("quantity") == quantity)
        series = [_series(rows, system) for system in FOLLOWED if system in set(rows["system"])]
        if series:
            charts.append(line_chart(f"reasoning-{quantity}", title, X_LABEL, series, x_range=(0.0, 1.0)))
    return tuple(charts)


def _series(rows: pl.DataFrame, system: str) -> Series:
    own = rows.filter(pl.col("system") == system)
    points = tuple(Point(*row) for row in own.select("x", "mean", "low", "high", "document_count").iter_rows())
    return Series(system, points, is_reference=system == TEACHER)
