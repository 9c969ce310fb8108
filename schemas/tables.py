"""Every table: columns, key, producer and checks. `Table.conform` is the only way a frame becomes one."""

from dataclasses import dataclass, field

import polars as pl

from schemas.checks import ReferenceRule, RowCountRule, RowRule, Rule
from schemas.errors import SchemaMismatchError
from schemas.fields import FIELDS, SCORE_NAMES, UNBOUNDED_METRICS, Field


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its key, who writes it, which columns may be null, and what must hold."""

    name: str
    row: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    producers: tuple[str, ...]
    nullable: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = field(default=())

    @property
    def layer(self) -> str:
        """`raw`, `core` or `out`."""
        return self.name.split("_", 1)[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns as `Field`s, in order."""
        return tuple(FIELDS[name] for name in self.columns)

    @property
    def schema(self) -> pl.Schema:
        """Column names and polars dtypes, in order."""
        return pl.Schema({f.name: f.dtype for f in self.fields})

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with exactly this table's columns, in order, cast to their types.

        Raises:
            SchemaMismatchError: a column is missing, or a value does not fit its type.
        """
        missing = [c for c in self.columns if c not in frame.columns]
        if missing:
            raise SchemaMismatchError(f"{self.name}: missing columns {missing}; the frame has {frame.columns}")
        try:
            return frame.select([pl.col(f.name).cast(f.dtype, strict=True) for f in self.fields])
        except pl.exceptions.PolarsError as exc:
            raise SchemaMismatchError(f"{self.name}: a value does not fit its column type: {exc}") from exc


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _cosine(column: str) -> str:
    return f"{column} is null or {column} between -1.001 and 1.001"


def _frac(column: str, severity: str = "error") -> RowRule:
    return RowRule(column, f"{column} is null or {column} between 0 and 1", f"{column} lies in 0..1", severity)


_SPAN = RowRule("char_end", "char_start >= 0 and char_end > char_start", "the span is not empty")
_DOC = ReferenceRule(("document_id",), "core_documents", ("document_id",))
_LABEL = ReferenceRule(("label_id",), "core_labels", ("label_id",))
_TRACE = ReferenceRule(("trace_id",), "core_traces", ("trace_id",))

CORE_DOCUMENTS = Table(
    "core_documents",
    "a document: text and split",
    _names("dataset document_id split source_line title_text document_text text_hash"),
    ("dataset", "document_id"),
    ("ingest",),
    frozenset({"source_line"}),
    (
        RowCountRule(1),
        RowRule("document_text", "length(trim(document_text)) > 0", "the document has text"),
        RowRule("document_text", "length(document_text) < 100000", "the document is shorter than 100,000 characters", "warn"),
    ),
)
CORE_LABELS = Table(
    "core_labels",
    "a label: number, name, description",
    _names("dataset label_id label_uid label_name description_text text_hash"),
    ("dataset", "label_id"),
    ("ingest",),
    rules=(
        RowCountRule(1),
        RowRule("label_name", "length(trim(label_name)) > 0", "the label has a name"),
        RowRule("label_id", "label_id >= 0", "label numbers start at 0"),
    ),
)
CORE_RELEVANCE = Table(
    "core_relevance",
    "a known target, or a pair to leave out (`is_filtered`)",
    _names("dataset document_id label_id split relevance is_filtered"),
    ("dataset", "document_id", "label_id"),
    ("ingest",),
    rules=(RowCountRule(1), _DOC, _LABEL, RowRule("relevance", "relevance >= 0", "relevance is not negative")),
)
RAW_TRACES = Table(
    "raw_traces",
    "one teacher completion for one document, as received",
    _names(
        "request_hash dataset document_id split teacher endpoint prompt_kind variant asked_form messages_hash sample_index "
        "completion_text reasoning_text finish_reason prompt_tokens cached_tokens completion_tokens reasoning_tokens "
        "answer_tokens cost_usd latency_ms attempt_count error_kind error_text asked_at"
    ),
    ("request_hash", "document_id"),
    ("trace",),
    frozenset(
        _names(
            "completion_text reasoning_text finish_reason prompt_tokens cached_tokens completion_tokens reasoning_tokens "
            "answer_tokens cost_usd latency_ms error_kind error_text"
        )
    ),
    (
        RowCountRule(1),
        _DOC,
        RowRule("completion_text", "completion_text is not null or error_kind is not null", "an answer or an error"),
        RowRule("error_kind", "error_kind is null", "requests end with an answer", "warn", 0.05),
        RowRule("cost_usd", "cost_usd is null or cost_usd >= 0", "cost is not negative"),
        RowRule(
            "finish_reason",
            "coalesce(finish_reason, '') not in ('length', 'connection_cut')",
            "answers are not cut off",
            "warn",
            0.05,
        ),
    ),
)
CORE_TRACES = Table(
    "core_traces",
    "one usable trace: phase boundary, counts, flags",
    _names(
        "trace_id request_hash dataset document_id split teacher prompt_kind variant sample_index answer_format boundary_step "
        "boundary_evidence_text step_count shortlist_count answer_count is_truncated out_of_catalogue_frac"
    ),
    ("trace_id",),
    ("parse",),
    frozenset({"boundary_step"}),
    (
        RowCountRule(1),
        _DOC,
        ReferenceRule(("request_hash", "document_id"), "raw_traces", ("request_hash", "document_id")),
        _frac("out_of_catalogue_frac"),
        RowRule("out_of_catalogue_frac", "out_of_catalogue_frac <= 0.5", "most mentions link to a label", "warn", 0.05),
        RowRule(
            "boundary_step", "boundary_step is not null or variant <> 'both'", "the trace has a refinement phase", "warn", 0.2
        ),
        RowRule("boundary_step", "boundary_step is null or boundary_step < step_count", "t* is a step of the trace"),
    ),
)
CORE_SHORTLIST = Table(
    "core_shortlist",
    "one candidate of one trace",
    _names(
        "trace_id rank request_hash dataset document_id mention_text label_id link_score link_method step "
        "span_source char_start char_end"
    ),
    ("trace_id", "rank"),
    ("parse",),
    frozenset({"label_id", "link_score", "step"}),
    (
        RowCountRule(1),
        _TRACE,
        _LABEL,
        _SPAN,
        RowRule("link_score", "link_score is null or link_score between 0 and 1", "link scores lie in 0..1"),
        RowRule("label_id", "(label_id is null) = (link_method = 'none')", "what links has a label"),
        RowRule("label_id", "label_id is not null", "mentions link to a label", "warn", 0.2),
    ),
)
CORE_STEPS = Table(
    "core_steps",
    "one reasoning step of one trace",
    _names(
        "trace_id step request_hash dataset document_id position phase step_text span_source char_start char_end "
        "target_label_id near_miss_label_id verdict"
    ),
    ("trace_id", "step"),
    ("parse",),
    frozenset({"target_label_id", "near_miss_label_id"}),
    (
        RowCountRule(1),
        _TRACE,
        _SPAN,
        RowRule("position", "position between 0 and 1", "positions lie in 0..1"),
        RowRule("char_end", "length(step_text) = char_end - char_start", "the span is as long as its text"),
        ReferenceRule(("target_label_id",), "core_labels", ("label_id",)),
        ReferenceRule(("near_miss_label_id",), "core_labels", ("label_id",)),
    ),
)
CORE_ANSWERS = Table(
    "core_answers",
    "one final label of one trace",
    _names(
        "trace_id rank request_hash dataset document_id mention_text label_id link_score link_method answer_score "
        "span_source char_start char_end"
    ),
    ("trace_id", "rank"),
    ("parse",),
    frozenset({"label_id", "link_score", "answer_score"}),
    (
        RowCountRule(1),
        _TRACE,
        _LABEL,
        _SPAN,
        RowRule("answer_score", "answer_score is null or answer_score between 0 and 1", "confidence lies in 0..1"),
        RowRule("label_id", "label_id is not null", "answers link to a label", "warn", 0.2),
    ),
)
CORE_REJECTS = Table(
    "core_rejects",
    "what could not be used, and why",
    _names("stage source_key dataset reject_reason detail_text source_line"),
    ("stage", "source_key"),
    ("ingest", "parse"),
    frozenset({"source_line"}),
)
CORE_TRAJECTORIES = Table(
    "core_trajectories",
    "one quantity of one system on one document at one relative position",
    _names("dataset system document_id quantity position value step_count"),
    _names("dataset system document_id quantity position"),
    ("characterize", "heads", "fidelity"),
    rules=(
        RowCountRule(1),
        _DOC,
        RowRule("position", "position between 0 and 1", "positions lie in 0..1"),
        RowRule(
            "value",
            "quantity not in ('focus', 'confusion', 'confusion_floor') or value between -1.001 and 1.001",
            "cosines lie in -1..1",
        ),
        RowRule("value", "quantity <> 'shortlist_recall' or value between 0 and 1", "recall lies in 0..1"),
    ),
)
CORE_NEAR_MISSES = Table(
    "core_near_misses",
    "one label of N(x): near to a target of the document, and none itself",
    _names("dataset document_id rank label_id score"),
    _names("dataset document_id rank"),
    ("characterize",),
    rules=(_DOC, _LABEL, RowRule("score", "score between -1.001 and 1.001", "cosines lie in -1..1")),
)
CORE_HEAD_DOCUMENT_SCORES = Table(
    "core_head_document_scores",
    "scores of one attention head on one document",
    _names("dataset model document_id layer head") + SCORE_NAMES,
    _names("dataset model document_id layer head"),
    ("heads",),
    frozenset(SCORE_NAMES),
    (RowCountRule(1), _DOC, RowRule("anchor_alignment", _cosine("anchor_alignment"), "cosines lie in -1..1")),
)
CORE_HEAD_SCORES = Table(
    "core_head_scores",
    "scores of one attention head, means over documents",
    _names("dataset model layer head")
    + SCORE_NAMES
    + _names("coarse_ci_low coarse_ci_high refine_ci_low refine_ci_high document_count"),
    _names("dataset model layer head"),
    ("heads",),
    frozenset(SCORE_NAMES) | frozenset(_names("coarse_ci_low coarse_ci_high refine_ci_low refine_ci_high")),
    (
        RowCountRule(1),
        RowRule("coarse_score", "coarse_score is null or isfinite(coarse_score)", "CoarseScores are finite"),
        RowRule("refine_score", "refine_score is null or isfinite(refine_score)", "RefineScores are finite"),
        RowRule("refine_score", "refine_score is not null", "every head has a RefineScore", "warn"),
        RowRule("document_count", "document_count >= 30", "the mean is over at least 30 documents", "warn"),
    ),
)
CORE_HEAD_PROFILES = Table(
    "core_head_profiles",
    "one summary of one head score: by layer, or of the whole model (layer -1)",
    _names("dataset model score_name summary layer value ci_low ci_high document_count"),
    _names("dataset model score_name summary layer"),
    ("heads",),
    rules=(
        RowCountRule(1),
        RowRule("value", "isfinite(value)", "summaries are finite"),
        RowRule("value", "summary = 'layer_mean' or value between -1.001 and 1.001", "correlations lie in -1..1"),
    ),
)
CORE_PATCH_EFFECTS = Table(
    "core_patch_effects",
    "effect of patching one set of heads on one quantity",
    _names(
        "dataset model phase direction corruption patched_part head_set head_count draw outcome_quantity value ci_low ci_high "
        "clean_value corrupted_value effect_frac effect_ci_low effect_ci_high document_count"
    ),
    _names("dataset model phase direction corruption patched_part head_set head_count draw outcome_quantity"),
    ("heads",),
    frozenset(_names("effect_frac effect_ci_low effect_ci_high")),
    (
        RowCountRule(1),
        RowRule("value", "isfinite(value)", "effects are finite"),
        RowRule("head_count", "head_count >= 1", "a patch has heads"),
        RowRule("ci_low", "ci_low <= value + 1e-9 and value <= ci_high + 1e-9", "the interval holds the value"),
        RowRule("document_count", "document_count >= 20", "the mean is over at least 20 documents", "warn"),
    ),
)
CORE_ATTENTION_INSETS = Table(
    "core_attention_insets",
    "attention of one head to one token of one document",
    _names("dataset model document_id phase layer head token_index token_text attention_frac is_anchor"),
    _names("dataset model document_id phase layer head token_index"),
    ("heads",),
    rules=(_DOC, _frac("attention_frac")),
)
OUT_VERDICTS = Table(
    "out_verdicts",
    "what the measurements say of one claim, in a sentence",
    _names("run_id dataset system claim standing sentence_text difference ci_low ci_high document_count"),
    _names("run_id system claim"),
    ("characterize", "heads"),
    frozenset(_names("difference ci_low ci_high")),
    (
        RowRule("sentence_text", "length(trim(sentence_text)) > 0", "the verdict is a sentence"),
        RowRule("standing", "standing = 'not_measured' or difference is not null", "a verdict has its number"),
    ),
)
CORE_TRAIN_STEPS = Table(
    "core_train_steps",
    "one loss term at one training step of one student",
    _names("dataset system seed component train_step loss_name loss_nats"),
    _names("dataset system seed component train_step loss_name"),
    ("decoder", "distill", "distill-decoder"),
    rules=(RowCountRule(1), RowRule("loss_nats", "isfinite(loss_nats)", "losses are finite")),
)
CORE_HEAD_MATCHES = Table(
    "core_head_matches",
    "one head of the teacher and the head of a student that imitates it",
    _names("dataset system seed matched_phase teacher_layer teacher_head student_layer student_head match_cost"),
    _names("dataset system seed matched_phase teacher_layer teacher_head"),
    ("distill-decoder",),
    rules=(RowRule("match_cost", "isfinite(match_cost) and match_cost >= 0", "distances are finite"),),
)
CORE_STUDENT_TRACES = Table(
    "core_student_traces",
    "what one decoder student wrote of one test document",
    _names("dataset system seed document_id written_text is_whole"),
    _names("dataset system seed document_id"),
    ("fidelity",),
    rules=(RowCountRule(1), _DOC, RowRule("is_whole", "is_whole", "traces keep the form", "warn", 0.5)),
)
CORE_TRIALS = Table(
    "core_trials",
    "one setting tried for one system, and how well it did on the development part",
    _names("dataset system trial setting_json metric value seed_count is_chosen"),
    _names("dataset system trial metric"),
    ("search", "search-decoder"),
    rules=(RowCountRule(1), RowRule("value", "isfinite(value)", "results are finite")),
)
CORE_PREDICTIONS = Table(
    "core_predictions",
    "one predicted label of one system for one document",
    _names("dataset system seed document_id rank label_id score"),
    _names("dataset system seed document_id rank"),
    ("fidelity", "evaluate"),
    rules=(
        RowCountRule(1),
        _DOC,
        _LABEL,
        RowRule("rank", "rank >= 1", "ranks start at 1"),
        RowRule("score", "isfinite(score)", "scores are finite"),
    ),
)
OUT_METRICS = Table(
    "out_metrics",
    "one value of one metric of one system, with its interval",
    _names("run_id dataset system metric k segment split value ci_low ci_high document_count seed_count seed_sd"),
    _names("run_id system metric k segment"),
    ("index", "characterize", "fidelity", "evaluate"),
    frozenset({"seed_sd"}),
    (
        RowCountRule(1),
        RowRule("value", f"isfinite(value) and (value between 0 and 1 or metric in {UNBOUNDED_METRICS})", "metrics lie in 0..1"),
        RowRule("ci_low", "ci_low <= value + 1e-9 and value <= ci_high + 1e-9", "the interval holds the value"),
        RowRule("document_count", "document_count >= 30", "the mean is over at least 30 documents", "warn"),
    ),
)
OUT_CONTRASTS = Table(
    "out_contrasts",
    "a paired difference between two systems, with its interval",
    _names("run_id dataset system baseline metric k segment difference ci_low ci_high p_value document_count seed_count"),
    _names("run_id system baseline metric k segment"),
    ("characterize", "fidelity", "evaluate"),
    rules=(
        RowRule("p_value", "p_value between 0 and 1", "p-values lie in 0..1"),
        RowRule("ci_low", "ci_low <= ci_high", "the interval is ordered"),
    ),
)
OUT_COSTS = Table(
    "out_costs",
    "tokens, money, seconds and rows of one stage of one run",
    _names(
        "run_id dataset stage is_reused request_count prompt_tokens cached_tokens completion_tokens reasoning_tokens "
        "answer_tokens cost_usd total_request_count total_prompt_tokens total_cached_tokens "
        "total_completion_tokens total_reasoning_tokens total_answer_tokens total_cost_usd duration_s "
        "rows_in_count rows_out_count rejected_count"
    ),
    ("run_id", "stage"),
    ("run",),
    frozenset(
        _names(
            "prompt_tokens cached_tokens completion_tokens reasoning_tokens answer_tokens cost_usd total_prompt_tokens "
            "total_cached_tokens total_completion_tokens total_reasoning_tokens total_answer_tokens total_cost_usd"
        )
    ),
)
OUT_CHECKS = Table(
    "out_checks",
    "one expectation's outcome on one table of one run",
    _names(
        "run_id dataset stage table expectation column severity outcome unexpected_count row_count unexpected_frac "
        "example_keys_text checked_at"
    ),
    ("run_id", "stage", "table", "expectation"),
    ("run",),
    frozenset({"unexpected_count", "row_count", "unexpected_frac"}),
)
OUT_RUNS = Table(
    "out_runs",
    "one execution: settings, seeds, code, versions, inputs, status",
    _names(
        "run_id dataset command status config_json seeds_json commit versions_json device inputs_json started_at "
        "finished_at error_text"
    ),
    ("run_id",),
    ("run",),
    frozenset({"commit", "finished_at", "error_text"}),
)

TABLES = {
    table.name: table
    for table in (
        CORE_DOCUMENTS, CORE_LABELS, CORE_RELEVANCE, RAW_TRACES, CORE_TRACES, CORE_SHORTLIST, CORE_STEPS,
        CORE_ANSWERS, CORE_REJECTS, CORE_NEAR_MISSES, CORE_TRAJECTORIES, CORE_HEAD_DOCUMENT_SCORES, CORE_HEAD_SCORES,
        CORE_HEAD_PROFILES, CORE_PATCH_EFFECTS, CORE_ATTENTION_INSETS, CORE_TRAIN_STEPS, CORE_HEAD_MATCHES, CORE_TRIALS,
        CORE_STUDENT_TRACES, CORE_PREDICTIONS, OUT_METRICS,
        OUT_CONTRASTS, OUT_VERDICTS, OUT_COSTS, OUT_CHECKS, OUT_RUNS,
    )
}  # fmt: skip
