"""What the page is made from (facts of the run, published tables), and the form of its parts."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from schemas.stages import MAIN_WRITERS, PRODUCERS
from tasks.reports.cells import Grid
from tasks.reports.charts import BarChart, DotChart, LineChart
from tasks.reports.head_map import HeadMap
from tasks.reports.inset import Inset
from tasks.reports.sample import TraceFrames, TraceView


@dataclass(frozen=True)
class Facts:
    """What the page says about the run itself; `has_exact_index`: search in the label set is exact."""

    dataset: str
    run_id: str
    written_at: datetime
    teacher: str | None
    is_stand_in: bool
    has_exact_index: bool
    recall_floors: tuple[tuple[int, float], ...]
    baseline: str


@dataclass(frozen=True)
class Frames:
    """The tables the page shows; None: not published. `documents` and `labels` need no texts here."""

    documents: pl.DataFrame | None = None
    labels: pl.DataFrame | None = None
    traces: pl.DataFrame | None = None
    ingest_rejects: pl.DataFrame | None = None
    parse_rejects: pl.DataFrame | None = None
    trajectories: pl.DataFrame | None = None
    train_steps: pl.DataFrame | None = None
    decoder_steps: pl.DataFrame | None = None
    metrics: pl.DataFrame | None = None
    index_metrics: pl.DataFrame | None = None
    contrasts: pl.DataFrame | None = None
    verdicts: pl.DataFrame | None = None
    phase_metrics: pl.DataFrame | None = None
    phase_contrasts: pl.DataFrame | None = None
    head_scores: pl.DataFrame | None = None
    head_profiles: pl.DataFrame | None = None
    patch_effects: pl.DataFrame | None = None
    attention_insets: pl.DataFrame | None = None
    head_trajectories: pl.DataFrame | None = None
    head_verdicts: pl.DataFrame | None = None
    fidelity_metrics: pl.DataFrame | None = None
    fidelity_trajectories: pl.DataFrame | None = None
    costs: pl.DataFrame | None = None
    sample: TraceFrames | None = None


@dataclass(frozen=True)
class Section:
    """One part of the page; what it has is shown in this order, `lead_grids` before the charts."""

    slug: str
    title: str
    notes: tuple[str, ...] = ()
    charts: tuple[DotChart | LineChart | BarChart | HeadMap, ...] = ()
    grids: tuple[Grid, ...] = ()
    traces: tuple[TraceView, ...] = ()
    lead_grids: tuple[Grid, ...] = ()
    insets: tuple[Inset, ...] = ()


def missing_note(table: str, dataset: str) -> str:
    """Which command produces a table that is not there."""
    stage = (PRODUCERS | MAIN_WRITERS | {"core_rejects": "parse"}).get(table)
    command = f"ctd {stage} {dataset}" if stage else "ctd run"
    return f"Left out: there is no {table} yet. The command “{command}” produces it."
