"""Every setting: type, bound, unit, default and where the default comes from; frozen, one section a room."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.sections import Fraction, Section
from schemas.student_settings import DecoderStudentsConfig, DistillConfig, FidelityConfig, SearchConfig


class IngestConfig(Section):
    """Reading a dataset."""

    path: str | None = Field(None, description="Folder of the dataset; `ctd ingest` and `ctd run` set it.")
    max_reject_frac: Fraction = Field(0.05, description="Share of unusable lines above which nothing is published.")


class EmbedConfig(Section):
    """The sentence embedder; every vector is cached by (embedder, length, text)."""

    model: str = Field("packaged-minilm", description="`packaged-minilm`, a local folder, or a name the hub cache holds.")
    document_tokens: int = Field(96, ge=8, le=8192, description="Documents are cut to this many tokens.")
    label_tokens: int = Field(32, ge=4, le=8192, description="Labels are cut to this many tokens.")
    batch_size: int = Field(64, ge=1, le=4096, description="Texts a forward pass; sorted by their tokens first.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Numbers the model computes with; `bfloat16` takes a third of the time on processors that have it, and up to "
        "four times as long on others.",
    )


class IndexConfig(Section):
    """The label index and its gate."""

    exact_below_count: int = Field(
        20_000, ge=0, description="Below this many labels search is an exact matrix product, .3 CPU ms a query at 20,000."
    )
    graph_form: Literal["i8", "f16", "b1"] = Field(
        "i8", description="Numbers in the usearch graph: 8-bit, half precision or signs; what it finds is rescored."
    )
    vector_form: Literal["float32", "float16", "int8"] = Field(
        "int8", description="Vectors that rescore what a graph finds; int8 loses .003 of recall@100 and halves the file."
    )
    connectivity: int = Field(16, ge=4, le=128, description="usearch graph degree.")
    expansion_add: int = Field(
        256, ge=8, le=4096, description="usearch candidates while building; 160 builds in half the time and finds .01 less."
    )
    expansion_search: int = Field(256, ge=8, le=8192, description="usearch candidates while searching.")
    target_recall: Fraction | None = Field(
        None,
        description="Recall@100: the cheapest form, degree and expansion that reach it are taken; null: as set above.",
    )
    keep_graph: bool = Field(True, description="Take over the dataset's last graph, adding and removing what changed.")
    rebuild_above_frac: Fraction = Field(0.2, description="Changed share of the labels above which it is built anew.")
    recall_sample_count: int = Field(500, ge=10, le=100_000, description="Queries for recall against exact search.")
    min_recall_at_10: Fraction = Field(0.98, description="Below this recall@10 the index refuses to serve.")
    min_recall_at_100: Fraction = Field(0.95, description="Below this recall@100 the index refuses to serve.")
    seed: int = Field(0, description="Draws the sample of queries, and of labels that forms are tried on.")

    @model_validator(mode="after")
    def _target_above_floor(self) -> "IndexConfig":
        if self.target_recall is not None and not self.min_recall_at_100 <= self.target_recall < 1:
            raise ValueError(
                f"index.target_recall = {self.target_recall}: it must lie from index.min_recall_at_100 = "
                f"{self.min_recall_at_100} to below 1, which only exact search reaches (index.exact_below_count)"
            )
        return self


class FaultRates(Section):
    """How often the stand-in misbehaves, by kind; each request draws once. `schedule` goes before the rates."""

    rate_limited: Fraction = Field(0.0, description="429 with Retry-After.")
    rate_limited_bare: Fraction = Field(0.0, description="429 that does not say how long to wait.")
    server_error: Fraction = Field(0.0, description="500.")
    unavailable: Fraction = Field(0.0, description="503 with Retry-After as a date.")
    dropped: Fraction = Field(0.0, description="The connection is closed without an answer.")
    hung: Fraction = Field(0.0, description="Nothing comes for `hang_s`, then the connection is closed.")
    cut_body: Fraction = Field(0.0, description="The connection is closed in the middle of the answer, streamed or not.")
    cut_off: Fraction = Field(0.0, description="finish_reason `length`, text cut midway.")
    broken_json: Fraction = Field(0.0, description="HTTP body that is not JSON.")
    wrong_content_type: Fraction = Field(0.0, description="200 with an HTML page, as proxies give.")
    empty_choices: Fraction = Field(0.0, description="200 without choices.")
    content_filter: Fraction = Field(0.0, description="finish_reason `content_filter`, no text.")
    refusal: Fraction = Field(0.0, description="A polite refusal in prose.")
    huge: Fraction = Field(0.0, description="An answer of 2 MB: the real one, then noise.")
    duplicate: Fraction = Field(0.0, description="The answer twice, as two choices.")
    unknown_label: Fraction = Field(0.02, description="A mention is of a label that does not exist.")
    slow_ms: float = Field(0.0, ge=0, description="Pause before every answer, milliseconds.")
    hang_s: float = Field(3600.0, gt=0, description="How long a hung request hangs, seconds.")
    schedule: tuple[str, ...] = Field(
        (), description="Fault of the first request, the second, ...; `ok` for none. Later requests draw by rate."
    )

    @field_validator("schedule")
    @classmethod
    def _names_faults(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = sorted(set(value) - {*FAULTS, "ok"})
        if wrong:
            raise ValueError(f"unknown faults {wrong}; allowed are ok, {', '.join(FAULTS)}")
        return value


FAULTS = (
    "rate_limited", "rate_limited_bare", "server_error", "unavailable", "dropped", "hung", "cut_body", "cut_off", "broken_json",
    "wrong_content_type", "empty_choices", "content_filter", "refusal", "huge", "duplicate",
)  # fmt: skip
"""Faults that exclude each other; the rates are drawn in this order."""


class StandInConfig(Section):
    """The stand-in teacher: a local server for trying the pipeline without a model. Not a language model."""

    answer_format: Literal["asked", "prose", "json", "tagged", "mixed"] = Field(
        "mixed", description="How it writes answers; `asked`: as the request asks; otherwise it does not care what was asked."
    )
    structured_output: Literal["taken", "refused", "ignored"] = Field(
        "taken", description="What it does with `response_format`: answers by the schema, says 400, or overlooks it."
    )
    reasoning_field: Literal["reasoning_content", "reasoning", "think"] = Field(
        "reasoning_content",
        description="Where prose reasoning stands: a field of the message, or a <think> block.",
    )
    shortlist_size: int = Field(10, ge=3, le=50, description="Candidates in its shortlist (prototype: 10).")
    miss_rate: Fraction = Field(0.10, description="A known target is left off the shortlist (prototype: 0.1).")
    flip_rate: Fraction = Field(0.05, description="A verdict is the wrong way round (prototype: 0.05).")
    knowledge: str | None = Field(None, description="Knowledge file; null: co-occurrence of labels in train documents.")
    seed: int = Field(0, description="Draws errors and wording; each document has its own stream.")
    faults: FaultRates = FaultRates()


Variant = Literal["both", "phase-1", "phase-2-teacher", "phase-2-index", "phase-2-stranger"]
AskedForm = Literal["auto", "json_schema", "json", "tagged", "free"]


class TeacherConfig(Section):
    """The teacher and how it is asked. The API key is read from the environment, never from here."""

    base_url: str = Field("stand-in", description="OpenAI-compatible base URL, or `stand-in`.")
    model: str | None = Field(None, description="Model name; no default: name the teacher you pay for.")
    prompt_kind: Literal["open", "candidates"] | None = Field(
        None, description="`open`: labels named freely, linked later; `candidates`: picked from the index's nearest. No default."
    )
    candidate_count: int = Field(50, ge=2, le=500, description="Labels offered by the `candidates` prompt.")
    candidates_by: Literal["dense", "lexical", "fused"] = Field(
        "fused",
        description="How they and the index's shortlist are found: by vector, by wording (TF-IDF, beyond 200,000 labels "
        "BM25) or by both. For 63,436 labels TF-IDF takes 184 MB to build and 4 ms a document.",
    )
    variants: tuple[Variant, ...] = Field(
        ("both",),
        min_length=1,
        description="Phases asked for, each variant a request of its own: both in one answer; phase 1 alone; phase 2 alone on a "
        "shortlist of the teacher (its phase-1 answer), of the index, or of a stranger (the teacher's of another document).",
    )
    variant_documents: int | None = Field(
        None,
        ge=1,
        description="Variants other than `both` are asked about the first n test documents alone, since only tests of the phases "
        "read them; null: about every document that `both` is.",
    )
    given_count: int = Field(10, ge=2, le=100, description="Labels in the index's shortlist that phase 2 is given.")
    answer_form: AskedForm = Field(
        "auto",
        description="`json_schema`: structured output; `json`: JSON by request only; `tagged`: tagged text; `free`: chain of "
        "thought. `auto`: the first of json_schema, tagged and free that the server and model follow; learned once, remembered.",
    )
    sample_count: int = Field(1, ge=1, le=100, description="Answers a document and variant; later stages use the first.")
    seed: int | None = Field(None, description="Seed sent with sample 0; sample n sends seed + n. Null: none is sent.")
    api_key_env: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    max_documents: int | None = Field(None, ge=1, description="Ask about the first n documents of each split; null: all.")
    concurrency: int = Field(
        32, ge=1, le=4096, description="Most requests in flight; fewer after 429 and timeouts, more again after successes."
    )
    requests_per_minute: float | None = Field(None, gt=0, description="Rate limit of your account; null: none.")
    tokens_per_minute: float | None = Field(None, gt=0, description="Limit of tokens in and out; null: none.")
    max_attempts: int = Field(6, ge=1, le=50, description="Times a request is sent before it ends as an error row.")
    max_cut_attempts: int = Field(
        2, ge=1, le=50, description="Times a stream that is cut midway is sent; then what came is kept as a truncated answer."
    )
    timeout_s: float | None = Field(
        600.0, gt=0, description="Deadline of one attempt that is not streamed, whole answer, seconds; null: none."
    )
    idle_timeout_s: float | None = Field(
        300.0, gt=0, description="Longest silence of a stream, seconds, also before its first token; null: none."
    )
    stream: Literal["auto", "on", "off"] = Field(
        "auto", description="Streamed answers survive a cut connection; `auto`: those that may exceed 4,096 tokens."
    )
    retry_pause_s: float = Field(0.5, ge=0, le=60, description="Pause before the first retry, seconds; doubles up to 60 s.")
    max_error_frac: Fraction = Field(0.2, description="Share of failed requests above which the stage fails.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling; null: not sent.")
    max_completion_tokens: int = Field(4096, ge=16, description="Token limit of one answer, reasoning included.")
    prompt_usd_per_million: float | None = Field(None, ge=0, description="Price of 1M tokens in; null: unknown.")
    cached_prompt_usd_per_million: float | None = Field(
        None, ge=0, description="Price of 1M tokens in that the server had cached; null: as other tokens in."
    )
    completion_usd_per_million: float | None = Field(None, ge=0, description="Price of 1M tokens out; null: unknown.")
    batch_price_factor: float = Field(1.0, ge=0, le=1, description="Price of batch answers relative to the above; OpenAI: 0.5.")
    max_usd: float | None = Field(
        None,
        gt=0,
        description="Most US dollars this teacher may cost on this dataset, all runs together; what is in flight counts at its "
        "most. Null: no cap.",
    )
    stand_in: StandInConfig = StandInConfig()

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("a base URL holds no user or password: settings are stored; the key goes into the environment")
        return value

    @field_validator("variants")
    @classmethod
    def _has_what_it_needs(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a variant is named twice")
        if {"phase-2-teacher", "phase-2-stranger"} & set(value) and "phase-1" not in value:
            raise ValueError("phase-2-teacher and phase-2-stranger are given phase-1 answers: add phase-1")
        return value


class ParseConfig(Section):
    """Reading traces and linking mentions."""

    fuzzy_threshold: Fraction = Field(
        0.80, description="Least closeness of a fuzzy link; edited Debian names (calibration): precision .998, recall .93."
    )
    vector_threshold: float = Field(
        0.80, ge=-1, le=1, description="Least cosine of a link to the nearest label; only descriptions come to this rung."
    )
    vector_lead: float = Field(
        0.15, ge=0, le=2, description="Least lead over the next label's cosine; .975 of 81 described Debian tags are right."
    )
    target_precision: Fraction | None = Field(
        None, description="Precision on edited names of these labels that the fuzzy threshold is chosen for; null: as set above."
    )
    seed: int = Field(0, description="Draws the edited names.")
    max_reject_frac: Fraction = Field(0.2, description="Share of unusable traces above which nothing is published.")
    process_count: int = Field(
        0, ge=0, description="Processes that read answers; 0: one a core, if each has 4,096 answers to read."
    )


class CharacterizeConfig(Section):
    """Phases in the text."""

    max_documents: int = Field(200, ge=1, description="Test documents whose steps are embedded; drawn with the seed.")
    positions: int = Field(10, ge=2, le=100, description="Bins of relative position.")
    near_miss_count: int = Field(10, ge=1, le=200, description="Labels in N(x): nearest non-targets of the targets.")
    equivalence_frac: Fraction = Field(
        0.1,
        description="A phase asked for alone does as well if it differs by no more than this share of what both reach together.",
    )
    bootstrap_count: int = Field(1000, ge=10, le=100_000, description="Resamples of an interval, over documents.")
    seed: int = Field(0, description="Draws the documents and the resamples.")


class DecoderConfig(Section):
    """A small decoder trained from scratch on the traces, in compact form: the offline stand-in for an open-weights teacher."""

    layers: int = Field(6, ge=2, le=128, description="Decoder layers (prototype: 6).")
    d_model: int = Field(128, ge=16, le=8192, description="Width of the residual stream (prototype: 128).")
    heads: int = Field(8, ge=1, le=128, description="Query heads a layer.")
    kv_heads: int = Field(8, ge=1, le=128, description="Key and value heads a layer; fewer than `heads`: grouped queries.")
    document_words: int = Field(48, ge=8, le=2048, description="Words of the document the decoder reads.")
    evidence_words: int = Field(2, ge=0, le=8, description="Words of the document a refinement step keeps.")
    max_labels: int = Field(20_000, ge=2, description="Labels with a token: those that traces of train documents name most.")
    max_words: int = Field(4_000, ge=100, description="Words with a token: those of most train documents.")
    train_steps: int = Field(1000, ge=1, description="Optimiser steps; on 8,000 documents the held-out loss still falls then.")
    batch_size: int = Field(16, ge=1, description="Sequences a step; 32 learn less in the same time.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak of a one-cycle schedule.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW.")
    dev_frac: Fraction = Field(0.1, description="Train documents it is not trained on; heads are scored on them.")
    checkpoint_steps: int = Field(100, ge=1, description="Steps between checkpoints; a killed training goes on from the last.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: cuda if there is one.")
    seed: int = Field(0, description="Draws weights, development documents and batches.")

    @model_validator(mode="after")
    def _heads_divide(self) -> "DecoderConfig":
        if self.d_model % self.heads or self.heads % self.kv_heads:
            raise ValueError("d_model must be a multiple of heads, and heads a multiple of kv_heads")
        return self


class HeadsConfig(Section):
    """Attention heads of an open-weights decoder: scores, patching with controls."""

    model: str | None = Field(
        None,
        description="`decoder`: the one trained on the traces; or a local Hugging Face folder with weights and a fast tokenizer. "
        "Null: heads are not measured.",
    )
    prompt_text: str = Field(
        "Choose the labels that fit this document.\n\n{document}\n\nFirst shortlist candidates, then refine.\n",
        description="What stands before a trace in a folder's model; its chat template is put around it if it has one.",
    )
    max_tokens: int = Field(4096, ge=32, description="Sequences are cut to this many tokens; what is cut off is counted.")
    batch_size: int = Field(16, ge=1, description="Documents a forward pass.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: cuda if there is one.")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Numbers a folder's model is loaded with.")
    score_documents: int = Field(128, ge=1, description="Train documents whose traces score the heads; never test documents.")
    patch_documents: int = Field(48, ge=2, description="Test documents that are patched.")
    bins: tuple[int, ...] | None = Field(
        None, description="Heads patched together; null: the paper's 3, 8, 16, 40, 100 of 5,120, scaled to the model's heads."
    )
    random_draws: int = Field(20, ge=1, le=1000, description="Random sets of each size, judged by the margin.")
    generated_draws: int = Field(3, ge=0, le=1000, description="Random sets of each size, judged by generated steps.")
    corruption: Literal["swap", "mask"] = Field("swap", description="Anchors swapped with another document's, or masked.")
    corrupts_shortlist: bool = Field(
        False, description="In refinement also corrupt the shortlist: of the anchors alone it may not depend."
    )
    patched_part: Literal["pattern", "output"] = Field("pattern", description="Attention pattern (the paper), or head output.")
    family_size: int = Field(
        50, ge=4, description="Labels of the closed family that refinement is patched in; formed by the index."
    )
    near_miss_count: int = Field(10, ge=1, le=200, description="Labels in N(x), as `characterize.near_miss_count`.")
    positions: int = Field(10, ge=2, le=100, description="Bins of relative position of the temporal dynamics.")
    dynamics_heads: int = Field(8, ge=1, description="Refinement heads whose dynamics are followed.")
    bootstrap_count: int = Field(1000, ge=10, le=100_000, description="Resamples of an interval, over documents.")
    seed: int = Field(0, description="Draws documents, random heads and resamples.")

    @field_validator("prompt_text")
    @classmethod
    def _names_the_document(cls, value: str) -> str:
        if value.count("{document}") != 1:
            raise ValueError("prompt_text names {document} once: the document is put there")
        return value

    @field_validator("bins")
    @classmethod
    def _bins_grow(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or value[0] < 1):
            raise ValueError("bins are head counts from 1, each larger than the one before")
        return value


class TagConfig(Section):
    """Tagging files with a trained student."""

    text_column: str | None = Field(
        None, description="Column of texts; null: `document_text`, `text`, or `title` and `content`, whichever the file has."
    )
    id_column: str | None = Field(
        None, description="Column that names documents; null: `document_id`, `uid`, `id`, or the line number."
    )
    top: int = Field(10, ge=1, le=1000, description="Labels a document; at most the student's shortlist.")
    min_probability: Fraction = Field(0.0, description="Labels less probable than this are left out.")
    max_reject_frac: Fraction = Field(0.05, description="Share of rows without a usable text above which nothing is tagged.")
    part_documents: int = Field(
        2048, ge=16, le=65_536, description="Documents tagged and stored together; a kill loses at most one part."
    )


class EvaluateConfig(Section):
    """Metrics and intervals."""

    ks: tuple[int, ...] = Field((1, 3, 5, 10, 100), min_length=1, description="Cutoffs.")
    prediction_count: int = Field(100, ge=1, le=1000, description="Labels kept per document and system.")
    propensity_a: float = Field(0.55, gt=0, description="A of the propensity model; 0.55 but for Wikipedia 0.5, Amazon 0.6.")
    propensity_b: float = Field(1.5, gt=0, description="B of the propensity model; 1.5 but for Wikipedia 0.4, Amazon 2.6.")
    head_min_count: int = Field(20, ge=1, description="Labels with at least so many train documents are head.")
    tail_max_count: int = Field(3, ge=1, description="Labels with 1 to so many train documents are tail; 0 is unseen.")
    bootstrap_count: int = Field(1000, ge=10, le=100_000, description="Resamples of an interval.")
    baseline: str = Field("answers", description="System that contrasts compare against.")
    seed: int = Field(0, description="Draws the resamples.")


class ReportConfig(Section):
    """Pages."""

    sample_traces: int = Field(12, ge=0, le=200, description="Traces shown with their phases coloured.")


class PipelineConfig(Section):
    """All settings of a run."""

    ingest: IngestConfig = IngestConfig()
    embed: EmbedConfig = EmbedConfig()
    index: IndexConfig = IndexConfig()
    teacher: TeacherConfig = TeacherConfig()
    parse: ParseConfig = ParseConfig()
    characterize: CharacterizeConfig = CharacterizeConfig()
    decoder: DecoderConfig = DecoderConfig()
    heads: HeadsConfig = HeadsConfig()
    distill: DistillConfig = DistillConfig()
    decoder_students: DecoderStudentsConfig = DecoderStudentsConfig()
    search: SearchConfig = SearchConfig()
    fidelity: FidelityConfig = FidelityConfig()
    tag: TagConfig = TagConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
