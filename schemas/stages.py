"""Every stage once: which tables and artifacts it reads, what it writes, and which settings shape its result."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One pipeline stage; `reads` and `writes` name tables, `needs` and `makes` name artifacts."""

    name: str
    room: str
    sections: tuple[str, ...]
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    grounds: tuple[str, ...] = ("labels",)
    """Ground rooms whose code shapes the result, besides the stage's own room."""
    takes: tuple[str, ...] = ()
    """Tables that are read if they are there, as `stage:table`."""


TRACED = ("core_documents", "core_labels", "core_relevance", "core_traces", "core_shortlist", "core_steps", "core_answers")
"""Documents, labels and what the teacher's traces say of them."""

READ_AS_WRITTEN = (*TRACED, "raw_traces")
"""The same, and the traces as the teacher wrote them: what a model of its own reads them through."""

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "ingest",
            "datasets",
            ("ingest",),
            writes=("core_documents", "core_labels", "core_relevance", "core_rejects"),
        ),
        Stage(
            "index",
            "labels",
            ("embed", "index"),
            ("core_documents", "core_labels"),
            writes=("out_metrics",),
            makes=("label_index",),
        ),
        Stage(
            "trace",
            "traces",
            ("embed", "teacher"),
            ("core_documents", "core_labels", "core_relevance"),
            ("label_index",),
            ("raw_traces",),
        ),
        Stage(
            "parse",
            "parsing",
            ("embed", "parse"),
            ("raw_traces", "core_labels"),
            ("label_index",),
            ("core_traces", "core_shortlist", "core_steps", "core_answers", "core_rejects"),
        ),
        Stage(
            "characterize",
            "phases",
            ("embed", "characterize"),
            TRACED,
            ("label_index",),
            ("core_trajectories", "core_near_misses", "out_metrics", "out_contrasts", "out_verdicts"),
        ),
        Stage(
            "decoder",
            "decoders",
            ("embed", "decoder"),
            ("core_documents", "core_labels", "core_traces", "core_shortlist", "core_steps", "core_answers"),
            ("label_index",),
            ("core_train_steps",),
            ("decoder",),
            ("labels", "sequences", "open_models"),
        ),
        Stage(
            "heads",
            "heads",
            ("embed", "decoder", "heads"),
            READ_AS_WRITTEN,
            ("label_index",),
            (
                "core_head_document_scores",
                "core_head_scores",
                "core_head_profiles",
                "core_patch_effects",
                "core_attention_insets",
                "core_trajectories",
                "out_verdicts",
            ),
            grounds=("labels", "sequences", "open_models"),
        ),
        Stage(
            "distill",
            "students",
            ("embed", "distill"),
            TRACED,
            ("label_index",),
            ("core_train_steps",),
            ("students",),
            ("labels", "sequences"),
        ),
        Stage(
            "search",
            "students",
            ("embed", "distill", "search"),
            TRACED,
            ("label_index",),
            ("core_trials",),
            ("chosen_settings",),
            ("labels", "sequences", "trials"),
        ),
        Stage(
            "search-decoder",
            "decoder_students",
            ("embed", "heads", "decoder_students", "search"),
            (*READ_AS_WRITTEN, "core_head_scores"),
            ("label_index",),
            ("core_trials",),
            ("chosen_decoder_settings",),
            ("labels", "sequences", "open_models", "trials"),
        ),
        Stage(
            "distill-decoder",
            "decoder_students",
            ("embed", "heads", "decoder_students"),
            (*READ_AS_WRITTEN, "core_head_scores"),
            ("label_index",),
            ("core_train_steps", "core_head_matches"),
            ("decoder_students",),
            ("labels", "sequences", "open_models"),
        ),
        Stage(
            "fidelity",
            "fidelity",
            ("embed", "heads", "fidelity"),
            TRACED,
            ("label_index", "decoder_students"),
            ("core_student_traces", "core_predictions", "core_trajectories", "out_metrics", "out_contrasts"),
            grounds=("labels", "sequences", "open_models", "intervals"),
        ),
        Stage(
            "evaluate",
            "evaluation",
            ("embed", "evaluate"),
            ("core_documents", "core_labels", "core_relevance", "core_traces", "core_shortlist", "core_answers"),
            ("label_index", "students"),
            ("core_predictions", "out_metrics", "out_contrasts"),
            grounds=("labels", "intervals"),
            takes=("fidelity:core_predictions",),
        ),
    )
}

_SHARED_TABLES = (
    "core_rejects",
    "core_trajectories",
    "core_train_steps",
    "core_trials",
    "core_predictions",
    "out_metrics",
    "out_contrasts",
    "out_verdicts",
)

PRODUCERS = {table: stage.name for stage in STAGES.values() for table in stage.writes if table not in _SHARED_TABLES}
MAIN_WRITERS = {
    "core_trajectories": "characterize",
    "core_train_steps": "distill",
    "core_trials": "search",
    "core_predictions": "evaluate",
    "out_metrics": "evaluate",
    "out_contrasts": "evaluate",
    "out_verdicts": "characterize",
}
"""Of tables that several stages write: the one readers mean by the table's name alone. `core_rejects` has none."""
MAKERS = {artifact: stage.name for stage in STAGES.values() for artifact in stage.makes}
