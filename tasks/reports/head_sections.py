"""The parts of the page on attention heads: which ones, what patching them does, what they do along the trace, an inset."""

import polars as pl

from tasks.reports.cells import Cell, Grid, count_text
from tasks.reports.dynamics import beside_charts, dynamics_charts, shared_documents
from tasks.reports.frames import Facts, Frames, Section
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
        ranking_section(facts, frames.head_scores, frames.head_profiles),
        patching_section(facts, frames.patch_effects, frames.head_verdicts),
        dynamics_section(facts, frames.head_trajectories, frames.trajectories),
        inset_section(facts, frames.attention_insets),
    )


def _left_out(slug: str, table: str, facts: Facts) -> Section:
    return Section(slug, TITLES[slug], (head_note(table, facts.dataset),))


def ranking_section(facts: Facts, scores: pl.DataFrame | None, profiles: pl.DataFrame | None) -> Section:
    """Maps of both scores with their highest heads, profiles by layer, order and reliability in words."""
    if scores is None:
        return _left_out("heads", "core_head_scores", facts)
    if scores.is_empty():
        return Section("heads", TITLES["heads"], ("core_head_scores holds no head.",))
    layers, heads = scores.select(pl.col("layer", "head").n_unique()).row(0)
    notes = [
        f"Heads of {', '.join(scores['model'].unique().sort())}: {layers:,} layers by {heads:,} heads, scored on "
        f"{count_text(max(scores['document_count']))} train documents, never on those that are evaluated. Layers and heads count "
        "from 0: L12H3 is head 3 of layer 12. A minus marks a negative score, an outline the ten highest.",
        "CoarseScore asks which heads shortlist, RefineScore which heads refine; both say what a head does, and only patching it "
        "says whether the model needs it.",
    ]
    if profiles is not None:
        said = [f"{order_sentence(profiles, kind)} {reliability_sentence(profiles, kind)}".strip() for kind in KINDS]
        notes += [text for text in said if text]
    maps = tuple(score_map(scores, kind, f"map-{kind.phase}") for kind in KINDS)
    curves = [] if profiles is None else [profile_chart(profiles, kind, f"profile-{kind.phase}") for kind in KINDS]
    return Section("heads", TITLES["heads"], tuple(notes), (*maps, *(curve for curve in curves if curve)))


def patching_section(facts: Facts, effects: pl.DataFrame | None, verdicts: pl.DataFrame | None) -> Section:
    """The patching charts with both controls, and what they say in sentences."""
    grids = () if verdicts is None or verdicts.is_empty() else (verdict_grid(verdicts),)
    if effects is None:
        return Section("patching", TITLES["patching"], (head_note("core_patch_effects", facts.dataset),), lead_grids=grids)
    notes = (
        "Denoise puts what the heads did in the clean run into the run on a corrupted document: are they enough to restore it? "
        "Noise puts the corrupted into the clean run: are they needed? 100% is all the way to the other run.",
        "The controls are as many heads: drawn at random, and those whose score is nearest to 0. Intervals are over documents; "
        "the band of random heads is the range of 95% of the draws. Heads matter where the highest leave both controls behind.",
    )
    charts = tuple(panel_chart(panel) for panel in panels(effects))
    return Section("patching", TITLES["patching"], notes, charts, lead_grids=grids)


def verdict_grid(verdicts: pl.DataFrame) -> Grid:
    """Every claim about the heads: how it stands, and the sentence with its numbers."""
    rows = tuple(
        (
            Cell(claim.replace("_", " ")),
            Cell(STANDINGS[standing], is_best=True),
            Cell(sentence),
        )
        for claim, standing, sentence in verdicts.select("claim", "standing", "sentence_text").iter_rows()
    )
    return Grid("head-verdicts", "Claims about the heads, and how they stand", ("claim", "verdict", "in words"), rows, (1, 2))


def dynamics_section(facts: Facts, own: pl.DataFrame | None, others: pl.DataFrame | None) -> Section:
    """What the top refinement heads do along the trace, and the decoder's own Focus and Confusion beside the teacher's."""
    if own is None:
        return _left_out("dynamics", "core_trajectories of the stage heads", facts)
    both = shared_documents(own, others)
    notes = [
        "The paper expects attention to the shortlist to rise along the trace, attention to near misses to fall, and "
        "OV-helpfulness to grow. Means over documents at each relative position; shaded: 95% band over documents.",
    ]
    beside = beside_charts(both)
    if beside:
        count = both["document_id"].n_unique()
        notes.append(
            f"Focus and Confusion of steps that the decoder generated itself, on {count:,} documents, and of the teacher's steps "
            "on those of them that were measured."
        )
    return Section("dynamics", TITLES["dynamics"], tuple(notes), (*dynamics_charts(own), *beside))


def inset_section(facts: Facts, attention: pl.DataFrame | None) -> Section:
    """The tokens of a document, shaded by the attention of the best head of each phase."""
    if attention is None:
        return _left_out("inset", "core_attention_insets", facts)
    found = insets(attention)
    if not found:
        return Section("inset", TITLES["inset"], ("core_attention_insets holds no token.",))
    note = (
        "The head of highest score of each phase on one document. The stronger its shade, the more attention a token gets: each "
        "shade is twice the one before. What is missing to 100% goes to the trace and to what stands around the document."
    )
    return Section("inset", TITLES["inset"], (note,), insets=found)
