"""The parts of the page, each from the tables it needs; where a table is missing, a sentence says how to get it."""

import polars as pl

from tasks.reports.cells import count_text
from tasks.reports.contrasts import collect_contrasts, contrast_charts, contrast_grid, contrast_sentence
from tasks.reports.curves import loss_charts, trajectory_charts
from tasks.reports.fidelity import fidelity_section
from tasks.reports.frames import Facts, Frames, Section, missing_note
from tasks.reports.head_sections import head_sections
from tasks.reports.phases import phase_section
from tasks.reports.quality import boundary_chart, cost_grid, format_grid, reject_grid, teacher_grid
from tasks.reports.results import (
    best_sentence,
    collect_scores,
    index_grid,
    leaderboard_grid,
    score_charts,
    segment_grid,
    square_grid,
    system_grid,
)
from tasks.reports.sample import TraceFrames, trace_views


def header_facts(facts: Facts, frames: Frames) -> tuple[tuple[str, str], ...]:
    """Counts and names for the top of the page, as (term, text)."""
    splits = {} if frames.documents is None else dict(frames.documents["split"].value_counts().iter_rows())
    rejected = None if frames.parse_rejects is None else len(frames.parse_rejects)
    return (
        ("Documents", f"{count_text(splits.get('train'))} train, {count_text(splits.get('test'))} test"),
        ("Labels", count_text(None if frames.labels is None else len(frames.labels))),
        ("Traces", f"{count_text(None if frames.traces is None else len(frames.traces))} used, {count_text(rejected)} rejected"),
        ("Teacher", facts.teacher or "none yet"),
        ("Run", facts.run_id),
        ("Written", facts.written_at.strftime("%Y-%m-%d %H:%M UTC")),
    )


def summary(facts: Facts, frames: Frames) -> tuple[str, ...]:
    """What the numbers say, in at most two sentences."""
    best = "" if frames.metrics is None else best_sentence(collect_scores(frames.metrics))
    contrast = "" if frames.contrasts is None else contrast_sentence(collect_contrasts(frames.contrasts, facts.baseline))
    return tuple(text for text in (best, contrast) if text)


def sections(facts: Facts, frames: Frames) -> tuple[Section, ...]:
    """All parts of the page, in reading order."""
    return (
        leaderboard_section(facts, frames.metrics),
        contrast_section(facts, frames.metrics, frames.contrasts),
        segment_section(facts, frames.metrics),
        phase_section(facts, frames),
        trajectory_section(facts, frames.trajectories),
        *head_sections(facts, frames),
        fidelity_section(facts, frames),
        trace_section(facts, frames),
        training_section(facts, frames.train_steps, frames.decoder_steps),
        index_section(facts, frames.index_metrics),
        cost_section(facts, frames.costs),
        sample_section(facts, frames.sample),
    )


def leaderboard_section(facts: Facts, metrics: pl.DataFrame | None) -> Section:
    """Every system by every metric, with dot charts and what the systems are."""
    if metrics is None:
        return Section("leaderboard", "Leaderboard", (missing_note("out_metrics", facts.dataset),))
    scores = collect_scores(metrics)
    notes = ["Intervals are over documents and, for students, seeds. Where two intervals overlap, look at the contrasts below."]
    if facts.is_stand_in and "teacher" in scores.systems:
        notes.append("The row “teacher” is the stand-in: on test documents it answers from retrieval alone.")
    return Section(
        "leaderboard", "Leaderboard", tuple(notes), score_charts(scores), (leaderboard_grid(scores), system_grid(scores))
    )


def contrast_section(facts: Facts, metrics: pl.DataFrame | None, contrasts: pl.DataFrame | None) -> Section:
    """The 2x2 of phase supervision and the paired differences against the baseline."""
    title = "What supervising the phases adds"
    square = None if metrics is None else square_grid(collect_scores(metrics))
    grids = (square,) if square else ()
    if contrasts is None:
        return Section("contrasts", title, (missing_note("out_contrasts", facts.dataset),), grids=grids)
    found = collect_contrasts(contrasts, facts.baseline)
    if not found:
        return Section("contrasts", title, ("out_contrasts holds no contrast: only one system was evaluated.",), grids=grids)
    notes = (
        "Differences are paired by document and seed, so they can be clear where the intervals above overlap. "
        "P-values are two-sided and not corrected for the number of comparisons.",
    )
    return Section("contrasts", title, notes, contrast_charts(found), (*grids, contrast_grid(found)))


def segment_section(facts: Facts, metrics: pl.DataFrame | None) -> Section:
    """R@10 for frequent, rare and unseen labels."""
    title = "Frequent and rare labels"
    if metrics is None:
        return Section("segments", title, (missing_note("out_metrics", facts.dataset),))
    grid = segment_grid(collect_scores(metrics))
    if grid is None:
        return Section("segments", title, ("out_metrics holds no segments: only “all” was measured.",))
    return Section("segments", title, ("A segment counts only its own labels, over the documents that have one.",), grids=(grid,))


def trajectory_section(facts: Facts, trajectories: pl.DataFrame | None) -> Section:
    """Focus, Confusion, shortlist recall and inflation along the trace."""
    title = "Phases along the trace"
    if trajectories is None:
        return Section("trajectories", title, (missing_note("core_trajectories", facts.dataset),))
    count = trajectories["document_id"].n_unique()
    notes = (
        f"Means over up to {count:,} documents at each relative position, 0 the first step and 1 the last; shaded: 95% band "
        "over documents. Axes do not start at zero.",
        "The floor of Confusion is what a step scores that names the document's targets and nothing else, since near misses are "
        "close to the targets. Steps that speak of other things lie below it; compare the shape of the curve, not its height.",
    )
    return Section("trajectories", title, notes, trajectory_charts(trajectories))


def trace_section(facts: Facts, frames: Frames) -> Section:
    """Counts by answer format, rejects by reason, and where refinement begins."""
    title = "Trace quality"
    rejects = [frame for frame in (frames.ingest_rejects, frames.parse_rejects) if frame is not None]
    notes = [] if frames.parse_rejects is not None else [missing_note("core_rejects", facts.dataset)]
    if rejects and not sum(len(frame) for frame in rejects):
        notes.append("Nothing was rejected.")
    grids = (reject_grid(rejects),) if sum(len(frame) for frame in rejects) else ()
    if frames.traces is None:
        return Section("traces", title, (missing_note("core_traces", facts.dataset), *notes), grids=grids)
    charts = (boundary_chart(frames.traces),)
    return Section("traces", title, tuple(notes), charts, (format_grid(frames.traces), *grids))


def sample_section(facts: Facts, sample: TraceFrames | None) -> Section:
    """Some traces as written, with their phases marked."""
    title = "Sample of traces"
    if sample is None:
        return Section("sample", title, (missing_note("core_steps", facts.dataset),))
    if sample.traces.is_empty():
        return Section("sample", title, ("No trace is shown: there is none, or report.sample_traces is 0.",))
    notes = (
        "Each step carries its phase as a word, a colour and a border: shortlist (solid), refine (dashed), answer (double). "
        "Text between steps is grey; commas and brackets between steps are left out.",
    )
    return Section("sample", title, notes, traces=trace_views(sample))


def training_section(facts: Facts, train_steps: pl.DataFrame | None, decoder_steps: pl.DataFrame | None) -> Section:
    """The losses of the students, and of the decoder if one was trained."""
    title = "Training"
    charts = () if decoder_steps is None else loss_charts(decoder_steps)
    if train_steps is None:
        return Section("training", title, (missing_note("core_train_steps", facts.dataset),), charts)
    note = "Total loss, mean over seeds. Methods sum different terms: compare the shape of the curves, not their height."
    return Section("training", title, (note,), (*loss_charts(train_steps), *charts))


def index_section(facts: Facts, metrics: pl.DataFrame | None) -> Section:
    """Recall of the label index against exact search."""
    grid = None if metrics is None else index_grid(metrics, dict(facts.recall_floors))
    if grid is None:
        note = f"Left out: the index has not been measured yet. The command “ctd index {facts.dataset}” builds and measures it."
        return Section("index", "Label index", (note,))
    exact = ("At this number of labels search is exact, so its recall is 1 by construction.",) if facts.has_exact_index else ()
    return Section("index", "Label index", exact, grids=(grid,))


def cost_section(facts: Facts, costs: pl.DataFrame | None) -> Section:
    """Time, requests, tokens and money by stage."""
    if costs is None or costs.is_empty():
        return Section("costs", "Cost", (missing_note("out_costs", facts.dataset),))
    teacher = teacher_grid(costs)
    return Section("costs", "Cost", grids=(cost_grid(costs), *((teacher,) if teacher else ())))
