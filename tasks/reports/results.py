"""Who finds what: the best system, the leaderboard, the 2x2, the segments and the index's recall, from `out_metrics`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from schemas.fields import DECODER_STUDENT, SEGMENTS
from schemas.student_settings import METHODS
from tasks.reports.cells import NO_VALUE, Cell, Grid, percent_range_text, percent_text
from tasks.reports.charts import DotChart, Mark, dot_chart

LEADERBOARD = (("P", 1), ("P", 5), ("R", 10), ("R", 100), ("nDCG", 5), ("PSP", 1), ("PSP", 5))
CHARTED = (("P", 1), ("R", 10))
HEADLINE = ("R", 10)
INDEX_METRIC = "index_recall"


@dataclass(frozen=True)
class Kind:
    """What a system is: the word for it, its marker, and one line on how it was made."""

    name: str
    shape: str
    meaning: str


_STUDENT, _UNTRAINED = ("student", "circle"), ("untrained", "square")
KINDS = {
    "lexical": Kind(*_UNTRAINED, "TF-IDF search of the labels with the document as query"),
    "embedding": Kind(*_UNTRAINED, "nearest labels by sentence embedding"),
    "teacher": Kind("teacher", "diamond", "the final labels of its traces, then the rest of its shortlist"),
    "answers": Kind(*_STUDENT, "trained on the teacher's final labels only"),
    "mechanistic-no-p2": Kind(*_STUDENT, "final labels and phase 1: the teacher's shortlists and the words it goes by"),
    "mechanistic-no-p1": Kind(*_STUDENT, "final labels and phase 2: the teacher's keep and drop steps"),
    "mechanistic": Kind(*_STUDENT, "final labels and both phases"),
    "mechanistic-random-anchors": Kind(
        "control", "circle", "both phases, but words drawn at random in place of those it goes by"
    ),
    "knn-gold": Kind("reference", "triangle", "known targets of the nearest train documents by TF-IDF, without a teacher"),
    "supervised": Kind("reference", "triangle", "the students' architecture trained on the known targets, without a teacher"),
}
OTHER = Kind("other", "square", "")
DECODER_KIND = Kind(
    "decoder student",
    "circle",
    "a small decoder that writes the trace, or (decoder-answers) the answers alone; sampled: ranked over drawn traces",
)


def kind_of(system: str) -> Kind:
    """What a system is."""
    return KINDS.get(system, DECODER_KIND if system.startswith(DECODER_STUDENT) else OTHER)


def story_place(system: str) -> tuple[int, str]:
    """Sort key of a system: untrained, teacher, students, reference, then others by name."""
    order = list(KINDS)
    return (order.index(system) if system in KINDS else len(order), system)


@dataclass(frozen=True)
class Value:
    """One value of one system with its interval, as shares 0 to 1, and what it is a mean over."""

    value: float
    low: float
    high: float
    document_count: int
    seed_count: int


@dataclass(frozen=True)
class Scores:
    """All values of one split, by (system, metric, k, segment)."""

    values: dict[tuple[str, str, int, str], Value]
    split: str

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems in the order of the story."""
        return tuple(sorted({system for system, *_ in self.values}, key=story_place))

    def get(self, system: str, metric: str, k: int, segment: str = "all") -> Value | None:
        """The value, or None where it was not measured."""
        return self.values.get((system, metric, k, segment))

    def ranked(self, metric: str, k: int) -> list[tuple[str, Value]]:
        """Systems with their value, best first; ties in the order of the story."""
        known = [(s, v) for s in self.systems if (v := self.get(s, metric, k)) is not None]
        return sorted(known, key=lambda pair: -pair[1].value)


def collect_scores(metrics: pl.DataFrame) -> Scores:
    """The values of the test split, or of the only split there is; the index's own recall is left out."""
    rows = metrics.filter(pl.col("metric") != INDEX_METRIC)
    splits = rows["split"].unique().sort().to_list()
    split = "test" if "test" in splits or not splits else str(splits[0])
    columns = ("system", "metric", "k", "segment", "value", "ci_low", "ci_high", "document_count", "seed_count")
    chosen = rows.filter(pl.col("split") == split).select(columns)
    return Scores({row[:4]: Value(*row[4:]) for row in chosen.iter_rows()}, split)


def best_sentence(scores: Scores) -> str:
    """Which system has the highest R@10, with its interval and whose intervals overlap it; empty if not measured."""
    ranked = scores.ranked(*HEADLINE)
    if not ranked:
        return ""
    (name, best), others = ranked[0], ranked[1:]
    overlap = _overlap_text([system for system, value in others if value.high >= best.low]) if others else ""
    return (
        f"Of {len(ranked)} systems on {best.document_count:,} {scores.split} documents, {name} has the highest R@10: "
        f"{percent_text(best.value)}% (95% interval {percent_range_text(best.low, best.high)}){overlap}."
    )


def _overlap_text(near: Sequence[str]) -> str:
    if not near:
        return "; no other system's interval overlaps with it"
    return (
        f"; the interval of {near[0]} overlaps with it"
        if len(near) == 1
        else f"; the intervals of {joined_names(near)} overlap with it"
    )


def leaderboard_grid(scores: Scores) -> Grid:
    """Systems by metrics, in percent, each value with its interval."""
    best = {pair: ranked[0][1].value for pair in LEADERBOARD if (ranked := scores.ranked(*pair))}
    rows = tuple(
        (_system_cell(scores, system), *(_value_cell(scores.get(system, *pair), best.get(pair)) for pair in LEADERBOARD))
        for system in scores.systems
    )
    caption = f"All systems on the {scores.split} documents, in percent, with 95% intervals below; bold is a column's highest"
    return Grid("leaderboard", caption, ("system", *(f"{m}@{k}" for m, k in LEADERBOARD)), rows)


def _system_cell(scores: Scores, system: str) -> Cell:
    measured = [v for (name, _, _, segment), v in scores.values.items() if name == system and segment == "all"]
    counts = {(v.document_count, v.seed_count) for v in measured}
    kind = kind_of(system).name
    if len(counts) != 1:
        return Cell(system, kind)
    documents, seeds = counts.pop()
    return Cell(system, f"{kind}, {documents:,} documents" + (f", {seeds} seeds" if seeds > 1 else ""))


def _value_cell(value: Value | None, best: float | None = None) -> Cell:
    if value is None:
        return Cell(NO_VALUE)
    return Cell(percent_text(value.value), percent_range_text(value.low, value.high), value.value == best)


def score_charts(scores: Scores) -> tuple[DotChart, ...]:
    """Dot charts of P@1 and R@10, all systems with their intervals."""
    return tuple(_score_chart(scores, metric, k) for metric, k in CHARTED)


def _score_chart(scores: Scores, metric: str, k: int) -> DotChart:
    marks = [
        Mark(s, 100 * v.value, 100 * v.low, 100 * v.high, kind_of(s).shape)
        for s in scores.systems
        if (v := scores.get(s, metric, k)) is not None
    ]
    return dot_chart(f"scores-{metric.lower()}-{k}", f"{metric}@{k} by system", "percent", marks)


def square_grid(scores: Scores) -> Grid | None:
    """The 2x2 of phase supervision in R@10; None unless all four students were measured."""
    cells = {s: scores.get(s, *HEADLINE) for s in METHODS}
    if None in cells.values():
        return None
    texts = {s: Cell(percent_text(v.value), f"{percent_range_text(v.low, v.high)} {s}") for s, v in cells.items() if v}
    rows = (
        (Cell("phase 1 not supervised"), texts["answers"], texts["mechanistic-no-p1"]),
        (Cell("phase 1 supervised"), texts["mechanistic-no-p2"], texts["mechanistic"]),
    )
    caption = "Students by the phases they were supervised on: R@10 in percent, same architecture, steps, batches and seeds"
    return Grid("square", caption, ("", "phase 2 not supervised", "phase 2 supervised"), rows)


def segment_grid(scores: Scores) -> Grid | None:
    """R@10 by how often a label occurs in train; None where only `all` was measured."""
    segments = [s for s in SEGMENTS if any(scores.get(system, *HEADLINE, s) for system in scores.systems)]
    if segments in ([], ["all"]):
        return None
    best = {s: max(v.value for system in scores.systems if (v := scores.get(system, *HEADLINE, s))) for s in segments}
    rows = tuple(
        (Cell(system), *(_value_cell(scores.get(system, *HEADLINE, s), best[s]) for s in segments)) for system in scores.systems
    )
    columns = ("system", *(f"{s}{_document_note(scores, s)}" for s in segments))
    return Grid(
        "segments", "R@10 by frequency of the label in train, in percent, n documents; bold is a column's highest", columns, rows
    )


def _document_note(scores: Scores, segment: str) -> str:
    counts = {v.document_count for system in scores.systems if (v := scores.get(system, *HEADLINE, segment))}
    return f" (n = {min(counts):,})" if len(counts) == 1 else ""


def system_grid(scores: Scores) -> Grid:
    """What each system is, in a line."""
    rows = tuple((Cell(s), Cell(kind.name), Cell(kind.meaning)) for s in scores.systems for kind in (kind_of(s),))
    return Grid("systems", "What the systems are", ("system", "kind", "how it was made"), rows, left=(1, 2))


def index_grid(metrics: pl.DataFrame, floors: Mapping[int, float]) -> Grid | None:
    """Recall of the label index against exact search, with the floor it must reach; None where it was not measured."""
    rows = metrics.filter(pl.col("metric") == INDEX_METRIC).sort("k").select("k", "value", "ci_low", "ci_high", "document_count")
    cells = tuple(
        (
            Cell(f"recall@{k}"),
            Cell(percent_text(value), percent_range_text(low, high)),
            Cell(percent_text(floors.get(k))),
            Cell(f"{queries:,}"),
        )
        for k, value, low, high, queries in rows.iter_rows()
    )
    columns = ("measure", "measured, percent", "floor, percent", "queries")
    return Grid("index", "What the label index finds of what exact search finds", columns, cells) if cells else None


def joined_names(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
