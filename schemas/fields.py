"""Every column once: name, dtype, unit and description. A table is a choice of these (`tables.py`)."""

from dataclasses import dataclass

import polars as pl

UTC = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Field:
    """One column: its polars dtype, its unit or closed list of values, and what it means.

    `is_bounded` False: a share (`_frac`) of a distance, which may go beyond 0 and 1.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    allowed: tuple[str, ...] = ()
    is_bounded: bool = True


PHASES = ("shortlist", "refine", "answer")
VERDICTS = ("keep", "drop", "compare", "none")
SPLITS = ("train", "test")
SEGMENTS = ("all", "head", "torso", "tail", "unseen")
SEVERITIES = ("error", "warn")
OUTCOMES = ("passed", "failed", "could_not_run")
RUN_STATUSES = ("running", "done", "failed", "check_failed")
SPAN_SOURCES = ("reasoning_text", "completion_text")
LINK_METHODS = ("id", "exact", "normalised", "fuzzy", "vector", "none")
ANSWER_FORMATS = ("json", "tagged", "prose")
PROMPT_KINDS = ("open", "candidates")
VARIANTS = ("both", "phase-1", "phase-2-teacher", "phase-2-index", "phase-2-stranger")
ASKED_FORMS = ("json_schema", "json", "tagged", "free")
TOKEN_COLUMNS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "answer_tokens")
TEXT_QUANTITIES = ("focus", "confusion", "confusion_floor", "shortlist_recall", "inflation", "refinement_gain")
HEAD_QUANTITIES = ("shortlist_attention_frac", "near_miss_attention_frac", "ov_helpfulness")
QUANTITIES = TEXT_QUANTITIES + HEAD_QUANTITIES
DIRECTIONS = ("denoise", "noise")
CORRUPTIONS = ("swap", "mask")
PATCHED_PARTS = ("pattern", "output")
HEAD_SETS = ("top", "random", "low")
OUTCOME_QUANTITIES = ("margin", "focus", "confusion")
SCORE_NAMES = ("kurtosis", "anchor_alignment", "coarse_score", "qk_refinement", "ov_helpfulness", "refine_score")
SUMMARIES = ("layer_mean", "layer_order", "split_half")
STANDINGS = ("holds", "fails", "undecided", "not_measured")
MATCHED_PHASES = ("p1", "p2")
FIDELITY_METRICS = (
    "las",
    "las_masked",
    "simulator_accuracy_x",
    "simulator_accuracy_e",
    "simulator_accuracy_xe",
    "las_leaking",
    "las_nonleaking",
    "leaking_frac",
    "focus_distance",
    "confusion_distance",
    "token_loss_nats",
    "format_frac",
)
"""How a student reasons, beside what it answers; cutoff 0. Of these some may leave 0..1: `UNBOUNDED_METRICS`."""
DECODER_STUDENT = "decoder-"
"""What decoder students are called by as systems: this and their method."""
SAMPLED = "-sampled"
"""Stands behind a decoder student's name where traces that are drawn, not its greedy one, rank its labels."""
DECODER_BASELINES = ("decoder-cot", "decoder-mechanistic-random-heads", "decoder-answers")
"""What every decoder student is compared with: plain distillation of the trace, the control, and the answers alone."""
UNBOUNDED_METRICS = (
    "las",
    "las_masked",
    "las_leaking",
    "las_nonleaking",
    "focus_distance",
    "confusion_distance",
    "token_loss_nats",
)
REJECT_REASONS = (
    # ingest
    "broken_line",
    "missing_column",
    "empty_text",
    "duplicate_document",
    "duplicate_label",
    "unknown_label",
    "unknown_document",
    # parse
    "teacher_error",
    "refused",
    "empty_completion",
    "unreadable_answer",
    "no_shortlist",
    "no_answer",
)

_FIELDS = (
    # identity
    Field("dataset", pl.String, "Name of the dataset."),
    Field("run_id", pl.String, "The execution that produced the row."),
    Field("stage", pl.String, "The pipeline stage."),
    Field("document_id", pl.String, "The document's uid, unique in its dataset."),
    Field("label_id", pl.Int32, "The label's number in its dataset: its line in an LF label file."),
    Field("label_uid", pl.String, "The label's own identifier in the source."),
    Field("trace_id", pl.String, "Hash of request and document: one trace."),
    Field("request_hash", pl.String, "SHA-256 over base URL, model, messages, sampling parameters and sample number."),
    # documents and labels
    Field("split", pl.String, "Which part of the dataset.", SPLITS),
    Field("source_line", pl.Int64, "Line in the source file, from 0; null if there is none."),
    Field("title_text", pl.String, "The document's title."),
    Field("document_text", pl.String, "Title and content, joined by a newline."),
    Field("label_name", pl.String, "The label's title."),
    Field("description_text", pl.String, "The label's description; may be empty."),
    Field("text_hash", pl.String, "SHA-256 of the text that is embedded."),
    Field("relevance", pl.Float32, "Relevance of the label; 1 where the source does not grade."),
    Field("is_filtered", pl.Boolean, "True: the pair is left out of rankings before scoring."),
    # teacher completions
    Field("teacher", pl.String, "Model name the endpoint was asked for."),
    Field("endpoint", pl.String, "Base URL of the endpoint, without credentials."),
    Field("prompt_kind", pl.String, "Which prompt was used.", PROMPT_KINDS),
    Field("variant", pl.String, "Which phases were asked for, and whose shortlist was given.", VARIANTS),
    Field("asked_form", pl.String, "Form of answer that was asked for.", ASKED_FORMS),
    Field("messages_hash", pl.String, "SHA-256 of the messages alone."),
    Field("sample_index", pl.Int32, "Number of the sample for one request, from 0."),
    Field("completion_text", pl.String, "The message content as received."),
    Field("reasoning_text", pl.String, "`reasoning_content` or `reasoning` as received; null if the server has none."),
    Field(
        "finish_reason",
        pl.String,
        "`stop`, `length`, `content_filter`; `connection_cut`: the stream broke; null: error.",
    ),
    Field("prompt_tokens", pl.Int64, "Tokens in, as the server reports; null if unknown."),
    Field("cached_tokens", pl.Int64, "Part of the tokens in that the server had cached; null if unknown."),
    Field("completion_tokens", pl.Int64, "Tokens out, reasoning included; null if unknown."),
    Field("reasoning_tokens", pl.Int64, "Part of the tokens out spent on reasoning; null if unknown."),
    Field("answer_tokens", pl.Int64, "Part of the tokens out that is no reasoning; null if unknown."),
    Field("cost_usd", pl.Float64, "Price in US dollars; null if unknown, never 0 for unknown."),
    Field("latency_ms", pl.Float64, "Time from sending to the whole answer, last attempt, in milliseconds."),
    Field("attempt_count", pl.Int32, "How often the request was sent."),
    Field("error_kind", pl.String, "Class of the last error; null after success."),
    Field("error_text", pl.String, "Message of the error; null after success."),
    Field("asked_at", UTC, "When the answer arrived (UTC)."),
    # traces
    Field("answer_format", pl.String, "How the answer was written.", ANSWER_FORMATS),
    Field("boundary_step", pl.Int32, "t*: first step of the refinement phase; null if no step refines."),
    Field("boundary_evidence_text", pl.String, "Why the boundary stands there."),
    Field("step_count", pl.Int32, "Reasoning steps in the trace."),
    Field("shortlist_count", pl.Int32, "Candidates in the shortlist."),
    Field("answer_count", pl.Int32, "Labels in the final answer."),
    Field("is_truncated", pl.Boolean, "True: the answer was cut off (`finish_reason` is `length` or `connection_cut`)."),
    Field("out_of_catalogue_frac", pl.Float64, "Share of shortlist and answer mentions that link to no label, 0 to 1."),
    Field("rank", pl.Int32, "Place in the list, from 1."),
    Field("mention_text", pl.String, "The label as the teacher wrote it."),
    Field("link_score", pl.Float64, "How sure the link is, 0 to 1; null if not linked."),
    Field("link_method", pl.String, "The rung that linked the mention.", LINK_METHODS),
    Field("span_source", pl.String, "The `raw_traces` column the span quotes.", SPAN_SOURCES),
    Field("char_start", pl.Int32, "First character of the span in its source column."),
    Field("char_end", pl.Int32, "One past the last character of the span."),
    Field("step", pl.Int32, "Place of the step in its trace, from 0."),
    Field("position", pl.Float32, "Relative position in the trace, 0 (first step) to 1 (last)."),
    Field("phase", pl.String, "Phase of the reasoning.", PHASES),
    Field("step_text", pl.String, "The step as written: exactly its span."),
    Field("target_label_id", pl.Int32, "The label the step argues for; null if none is named."),
    Field("near_miss_label_id", pl.Int32, "The label the step argues against; null if none is named."),
    Field("verdict", pl.String, "What the step decides.", VERDICTS),
    Field("answer_score", pl.Float64, "The teacher's own confidence, 0 to 1; null if it gives none."),
    # rejects
    Field("source_key", pl.String, "Key of the row in its source: request hash, or file and line."),
    Field("reject_reason", pl.String, "Why it could not be used.", REJECT_REASONS),
    Field("detail_text", pl.String, "What was seen."),
    # characterize
    Field("system", pl.String, "What made the result: teacher, a baseline, or a student's method."),
    Field("quantity", pl.String, "What is measured along the trace.", QUANTITIES),
    Field("value", pl.Float64, "The measured value."),
    # the two phases as claims
    Field("claim", pl.String, "Short name of the claim that was tested."),
    Field("standing", pl.String, "What the interval says of the claim.", STANDINGS),
    Field("sentence_text", pl.String, "The verdict in a sentence, with its numbers."),
    # heads of a decoder
    Field("model", pl.String, "The decoder whose heads were measured: `decoder` (trained here) or the folder's name."),
    Field("layer", pl.Int32, "Layer of the head, from 0; -1 for the whole model."),
    Field("head", pl.Int32, "Head in its layer, from 0 (query heads, where keys are grouped)."),
    Field("kurtosis", pl.Float64, "Excess kurtosis of the head's attention over the keys it sees, mean over Q_early."),
    Field("anchor_alignment", pl.Float64, "Cosine of the head's write and the centred anchor centroid, mean over Q_early."),
    Field("coarse_score", pl.Float64, "CoarseScore: mean over Q_early of kurtosis times anchor alignment."),
    Field(
        "qk_refinement", pl.Float64, "Attention to a kept candidate minus to a dropped one, means per candidate, over Q_refine."
    ),
    Field(
        "ov_helpfulness", pl.Float64, "Inner product of the head's write and the margin's gradient (logits), mean over Q_refine."
    ),
    Field("refine_score", pl.Float64, "RefineScore: mean over Q_refine of QK-refinement times OV-helpfulness."),
    Field("coarse_ci_low", pl.Float64, "Lower end of the 95% interval of the CoarseScore, over documents."),
    Field("coarse_ci_high", pl.Float64, "Upper end of the 95% interval of the CoarseScore, over documents."),
    Field("refine_ci_low", pl.Float64, "Lower end of the 95% interval of the RefineScore, over documents; null without one."),
    Field("refine_ci_high", pl.Float64, "Upper end of the 95% interval of the RefineScore, over documents; null without one."),
    Field("score_name", pl.String, "Which score is summed up.", SCORE_NAMES),
    Field("summary", pl.String, "layer_mean; layer_order: Spearman of score and layer; split_half: reliability.", SUMMARIES),
    Field("token_index", pl.Int32, "Place of the token in the sequence, from 0."),
    Field("token_text", pl.String, "The token as text."),
    Field("attention_frac", pl.Float64, "Attention the token gets, 0 to 1."),
    Field("is_anchor", pl.Boolean, "True: the token is an anchor of the document."),
    # patching
    Field("direction", pl.String, "denoise: clean into corrupted; noise: corrupted into clean.", DIRECTIONS),
    Field("corruption", pl.String, "swap: anchors of another document; mask: anchors replaced by a filler token.", CORRUPTIONS),
    Field("patched_part", pl.String, "What of a head is patched: its attention pattern, or its output.", PATCHED_PARTS),
    Field("head_set", pl.String, "Heads of highest score, as many others at random, or those of scores nearest 0.", HEAD_SETS),
    Field("head_count", pl.Int32, "Heads patched together (the bin)."),
    Field("draw", pl.Int32, "Number of the random draw, from 0; 0 for the other sets."),
    Field("outcome_quantity", pl.String, "What the patch is judged by: margin (logits), Focus or Confusion.", OUTCOME_QUANTITIES),
    Field("clean_value", pl.Float64, "The quantity in the clean run, mean over documents."),
    Field("corrupted_value", pl.Float64, "The quantity in the corrupted run, mean over documents."),
    Field(
        "effect_frac",
        pl.Float64,
        "Share of the distance between the runs that the patch goes; null if they do not differ.",
        is_bounded=False,
    ),
    Field("effect_ci_low", pl.Float64, "Lower end of the 95% interval of the share, over documents."),
    Field("effect_ci_high", pl.Float64, "Upper end of the 95% interval of the share, over documents."),
    # training
    Field("seed", pl.Int32, "Random seed; 0 for systems that draw nothing."),
    Field(
        "component", pl.String, "Part of the student that is trained.", ("shortlister", "refiner", "decoder", "decoder-student")
    ),
    Field("train_step", pl.Int32, "Optimiser step, from 0."),
    Field("loss_name", pl.String, "Term of the loss; `total_loss` is the weighted sum."),
    Field("loss_nats", pl.Float64, "Value of the term, in nats per document; of a decoder, per token."),
    Field("matched_phase", pl.String, "Phase whose head is imitated: p1 shortlists, p2 refines.", MATCHED_PHASES),
    Field("teacher_layer", pl.Int32, "Layer of the teacher's head, from 0."),
    Field("teacher_head", pl.Int32, "The teacher's head in its layer, from 0."),
    Field("student_layer", pl.Int32, "Layer of the student's head that imitates it, from 0."),
    Field("student_head", pl.Int32, "The student's head in its layer, from 0."),
    Field("match_cost", pl.Float64, "Distance of the two heads: of score profiles and of relative depth; lower is closer."),
    Field("written_text", pl.String, "What a student wrote after the document, as its tokens."),
    Field(
        "is_whole",
        pl.Boolean,
        "True: what was written keeps the form of a trace by itself; where the form is held, repeated labels aside.",
    ),
    Field("trial", pl.Int32, "Number of the settings tried, from 0; 0 are the defaults."),
    Field("setting_json", pl.String, "The settings tried."),
    Field("is_chosen", pl.Boolean, "True: the best of its system on the development part."),
    # evaluation
    Field("score", pl.Float64, "The system's score; higher is better; comparable within one list."),
    Field("metric", pl.String, "Name of the metric without its cutoff."),
    Field("k", pl.Int32, "Cutoff of the metric; 0 where it has none."),
    Field("segment", pl.String, "Which labels count, by frequency in train.", SEGMENTS),
    Field("ci_low", pl.Float64, "Lower end of the 95% interval."),
    Field("ci_high", pl.Float64, "Upper end of the 95% interval."),
    Field("document_count", pl.Int64, "Documents the value is a mean over."),
    Field("seed_count", pl.Int32, "Seeds the value is a mean over."),
    Field("seed_sd", pl.Float64, "Standard deviation of the value over seeds; null for one seed."),
    Field("baseline", pl.String, "The system compared against."),
    Field("difference", pl.Float64, "System minus baseline, paired by document and seed."),
    Field("p_value", pl.Float64, "Two-sided, from the paired bootstrap."),
    # operations
    Field("request_count", pl.Int64, "Requests sent to the teacher."),
    Field("total_request_count", pl.Int64, "Requests behind the stage's rows, whichever run sent them."),
    Field("total_prompt_tokens", pl.Int64, "Tokens in behind the stage's rows, of all runs; null if unknown."),
    Field("total_cached_tokens", pl.Int64, "The part of `total_prompt_tokens` that servers had cached; null if unknown."),
    Field("total_completion_tokens", pl.Int64, "Tokens out behind the stage's rows, of all runs; null if unknown."),
    Field("total_reasoning_tokens", pl.Int64, "The part of `total_completion_tokens` spent on reasoning; null if unknown."),
    Field("total_answer_tokens", pl.Int64, "The part of `total_completion_tokens` that is no reasoning; null if unknown."),
    Field("total_cost_usd", pl.Float64, "US dollars behind the stage's rows, of all runs; null if unknown."),
    Field("rows_in_count", pl.Int64, "Rows read."),
    Field("rows_out_count", pl.Int64, "Rows written."),
    Field("rejected_count", pl.Int64, "Rows that could not be used."),
    Field("duration_s", pl.Float64, "Wall-clock seconds."),
    Field("is_reused", pl.Boolean, "True: nothing changed, an earlier result was taken."),
    Field("table", pl.String, "The table that was checked."),
    Field("expectation", pl.String, "The expectation, with its column."),
    Field("column", pl.String, "The column that was checked; `*` for the table."),
    Field("severity", pl.String, "`error` stops the run, `warn` does not.", SEVERITIES),
    Field("outcome", pl.String, "What the check found.", OUTCOMES),
    Field("unexpected_count", pl.Int64, "Rows that break the expectation; null if it could not run."),
    Field("row_count", pl.Int64, "Rows of the table."),
    Field("unexpected_frac", pl.Float64, "Share of rows that break the expectation, 0 to 1."),
    Field("example_keys_text", pl.String, "Keys of up to three such rows."),
    Field("checked_at", UTC, "When the check ran (UTC)."),
    Field("command", pl.String, "The command or flow."),
    Field("status", pl.String, "How the run stands.", RUN_STATUSES),
    Field("config_json", pl.String, "Resolved settings, without secrets."),
    Field("seeds_json", pl.String, "Seeds by section."),
    Field("commit", pl.String, "Git commit of the code, or null outside a checkout."),
    Field("versions_json", pl.String, "Package versions."),
    Field("device", pl.String, "Processor the run used."),
    Field("inputs_json", pl.String, "Inputs by content hash."),
    Field("started_at", UTC, "When the run began (UTC)."),
    Field("finished_at", UTC, "When the run ended (UTC); null while it runs."),
)

FIELDS = {field.name: field for field in _FIELDS}
