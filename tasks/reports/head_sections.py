"""The parts of the page on attention heads: which ones, what patching them does, what they do along the trace, an inset."""

import polars as pl

from tasks.reports.cells import Cell, Grid, count_text
from tasks.reports.charts import LineChart
from tasks.reports.dynamics import beside_charts, dynamics_charts, shared_documents
from tasks.reports.frames import Facts, Frames, Section
from tasks.reports.head_map import HeadMap
from tasks.reports.heads import KINDS, order_sentence, profile_chart, reliability_sentence, score_map
from tasks.reports.inset import insets
from tasks.reports.patching import panel_chart, panels
from tasks.reports.phases import STANDINGS

TITLES = {
    "heads": "Which heads?",
    "patching": "What patching heads does",
    "dynamics": "Heads along the trace",
    "inset": "Where two heads look",
}
CLAIMS = {
    "heads": {
        "early_heads_shortlist": "Shortlisting heads stand early",
        "late_heads_refine": "Refinement heads stand late",
    },
    "patching": {
        "shortlist_heads_sufficient": "Shortlisting heads are enough (margin)",
        "shortlist_heads_necessary": "Shortlisting heads are needed (margin)",
        "shortlist_heads_sufficient_focus": "Shortlisting heads are enough (Focus)",
        "shortlist_heads_necessary_focus": "Shortlisting heads are needed (Focus)",
        "refine_heads_sufficient": "Refinement heads are enough (margin)",
        "refine_heads_necessary": "Refinement heads are needed (margin)",
        "refine_heads_sufficient_confusion": "Refinement heads are enough (Confusion)",
        "refine_heads_necessary_confusion": "Refinement heads are needed (Confusion)",
    },
    "dynamics": {
        "kept_attention_rises": "Attention to kept candidates rises",
        "dropped_attention_falls": "Attention to dropped candidates falls",
        "ov_helpfulness_grows": "OV-helpfulness grows",
    },
}
"""The claims of each section in a few words, in the order of the page."""


def head_note(table: str, dataset: str) -> str:
    """Which command measures the heads of a decoder."""
    return (
        f"Left out: there is no {table} yet. The command “ctd heads {dataset} --model decoder” produces it, with a small decoder "
        f"trained on the traces (“ctd decoder {dataset}”); the folder of any local Hugging Face decoder may stand in its place."
    )


def head_sections(facts: Facts, frames: Frames) -> tuple[Section, ...]:
    """The four parts, or a single one that says what to run where no heads were measured."""
    tables = (frames.head_scores, frames.patch_effects, frames.head_trajectories, frames.attention_insets)
    if all(table is None for table in tables):
        return (_left_out("heads", "core_head_scores", facts),)
    return (
        ranking_section(facts, frames),
        patching_section(facts, frames),
        dynamics_section(facts, frames),
        inset_section(facts, frames.attention_insets),
    )


def _left_out(slug: str, table: str, facts: Facts) -> Section:
    return Section(slug, TITLES[slug], (head_note(table, facts.dataset),))


def ranking_section(facts: Facts, frames: Frames) -> Section:
    """Maps of both scores with their highest heads, profiles by layer, order and reliability in words."""
    scores, profiles = frames.head_scores, frames.head_profiles
    if scores is None:
        return _left_out("heads", "core_head_scores", facts)
    if scores.is_empty():
        return Section("heads", TITLES["heads"], ("core_head_scores holds no head.",))
    layers, heads = scores.select(pl.col("layer", "head").n_unique()).row(0)
    notes = [
        f"Heads of {', '.join(scores['model'].unique().sort())}: {layers:,} layers by {heads:,} heads, scored on "
        f"{count_text(max(scores['document_count']))} train documents, never on those that are evaluated. Layers and heads count "
        "from 0: L12H3 is head 3 of layer 12. A minus marks a negative score, an outline the highest.",
        "CoarseScore asks which heads shortlist, RefineScore which heads refine; both say what a head does, and only patching it "
        'says whether the model needs it. All heads: ctd sql "SELECT * FROM head_ranking".',
    ]
    if profiles is not None:
        said = [f"{order_sentence(profiles, kind)} {reliability_sentence(profiles, kind)}".strip() for kind in KINDS]
        notes += [text for text in said if text]
    maps = [score_map(scores, kind, f"map-{kind.phase}") for kind in KINDS]
    curves = [] if profiles is None else [profile_chart(profiles, kind, f"profile-{kind.phase}") for kind in KINDS]
    charts: tuple[HeadMap | LineChart, ...] = (*maps, *(curve for curve in curves if curve))
    return Section("heads", TITLES["heads"], tuple(notes), charts, lead_grids=verdict_grids(frames.head_verdicts, "heads"))


def patching_section(facts: Facts, frames: Frames) -> Section:
    """The patching charts with both controls, and what they say in sentences."""
    if frames.patch_effects is None:
        return _left_out("patching", "core_patch_effects", facts)
    notes = (
        "Denoise puts what the heads did in the clean run into the run on a corrupted document: are they enough to restore it? "
        "Noise puts the corrupted into the clean run: are they needed? 100% is all the way to the other run.",
        "The controls are as many heads: drawn at random, and those whose score is nearest to 0. Intervals are over documents; "
        "the band of random heads is the range of 95% of the draws. Heads matter where the highest leave both controls behind.",
    )
    charts = tuple(panel_chart(panel) for panel in panels(frames.patch_effects))
    return Section("patching", TITLES["patching"], notes, charts, lead_grids=verdict_grids(frames.head_verdicts, "patching"))


def verdict_grids(verdicts: pl.DataFrame | None, slug: str) -> tuple[Grid, ...]:
    """The claims of one section: how each stands, and the sentence with its numbers; no table where there is none."""
    found = () if verdicts is None else verdicts.select("claim", "standing", "sentence_text").iter_rows()
    said = {claim: (standing, sentence) for claim, standing, sentence in found}
    rows = tuple(
        (Cell(words), Cell(STANDINGS[said[claim][0]], is_best=True), Cell(said[claim][1]))
        for claim, words in CLAIMS[slug].items()
        if claim in said
    )
    grid = Grid(f"{slug}-verdicts", "Claims about the heads, and how they stand", ("claim", "verdict", "in words"), rows, (1, 2))
    return (grid,) if rows else ()


def dynamics_section(facts: Facts, frames: Frames) -> Section:
    """What the top refinement heads do along the trace, and the decoder's own Focus and Confusion beside the teacher's."""
    own = frames.head_trajectories
    if own is None:
        return _left_out("dynamics", "core_trajectories of the stage heads", facts)
    both = shared_documents(own, frames.trajectories)
    notes = [
        "The paper expects attention to the shortlist to rise along the trace, attention to near misses to fall, and "
        "OV-helpfulness to grow. Here kept candidates stand for the first, dropped candidates for the second. Means over "
        "documents at each relative position; shaded: 95% band over documents, none where there is a single one.",
    ]
    beside = beside_charts(both)
    if beside:
        count = both["document_id"].n_unique()
        notes.append(
            f"Focus and Confusion of steps that the decoder generated itself, on {count:,} documents, and of the teacher's steps "
            "on those of them that were measured."
        )
    grids = verdict_grids(frames.head_verdicts, "dynamics")
    return Section("dynamics", TITLES["dynamics"], tuple(notes), (*dynamics_charts(own), *beside), lead_grids=grids)


def inset_section(facts: Facts, attention: pl.DataFrame | None) -> Section:
    """The tokens of a document, shaded by the attention of the best head of each phase."""
    if attention is None:
        return _left_out("inset", "core_attention_insets", facts)
    found = insets(attention)
    if not found:
        return Section("inset", TITLES["inset"], ("core_attention_insets holds no token.",))
    note = (
        "The head of highest score of each phase on one document. The stronger its shade, the more attention a token gets: each "
        "shade is twice the one before. What is missing to 100% goes to tokens that are not shown."
    )
    return Section("inset", TITLES["inset"], (note,), insets=found)
