"""Settings of students: encoder and decoder students, and the search of settings for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from schemas.sections import Fraction, Section

Method = Literal["answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic", "mechanistic-random-anchors"]
METHODS: tuple[Method, ...] = ("answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic")
"""The 2x2 of phases, trained unless said otherwise; the control with random anchors is on request."""

ENCODER_TUNABLE = ("learning_rate", "weight_decay", "temperature", "lambda_p1", "lambda_p2")
"""Settings of encoder students that may differ between methods: what a search chooses."""


def _refuse_others(chosen: Iterable[Mapping[str, float]], tunable: Sequence[str]) -> None:
    """Refuse overrides of settings that may not differ between methods."""
    wrong = sorted({name for values in chosen for name in values} - set(tunable))
    if wrong:
        raise ValueError(f"{wrong} may not differ between methods, only {list(tunable)}: budgets stay equal")


class DistillConfig(Section):
    """Training encoder students; every method has the same architecture, steps, batches and seeds."""

    methods: tuple[Method, ...] = Field(METHODS, min_length=1, description="The 2x2 of phase-1 and phase-2 supervision.")
    has_supervised_reference: bool = Field(True, description="Also train the same architecture on gold labels.")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="One student a method and seed.")
    dev_frac: Fraction = Field(0.1, description="Part of train kept for development, never test.")
    shortlist_size: int = Field(50, ge=5, le=1000, description="Candidates the refiner scores.")
    shortlister_steps: int = Field(
        150, ge=1, description="Optimiser steps of the shortlister: 2 to 5 passes of train (8 overfit)."
    )
    refiner_steps: int = Field(200, ge=1, description="Optimiser steps of the refiner; 400 gave the same.")
    max_cpu_s: float | None = Field(
        None, gt=0, description="Train each student for so many CPU seconds instead: steps are what fits. Null: the steps above."
    )
    batch_size: int = Field(32, ge=2, description="Documents a step.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak of a one-cycle schedule.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW.")
    temperature: float = Field(0.05, gt=0, description="Softmax temperature of cosine scores at the start; it is learnt.")
    lambda_p1: float = Field(0.3, ge=0, description="Weight of the phase-1 term (development: 0.1 to 1 alike, 3 worse).")
    lambda_p2: float = Field(0.2, ge=0, description="Weight of the phase-2 term (prototype: 1.0 hurts, 0.2 helps).")
    overrides: dict[Method, dict[str, float]] = Field(
        {}, description="Settings of single methods: learning_rate, weight_decay, temperature, lambda_p1, lambda_p2."
    )

    @field_validator("overrides")
    @classmethod
    def _overrides_what_may_differ(cls, value: dict[Method, dict[str, float]]) -> dict[Method, dict[str, float]]:
        _refuse_others(value.values(), ENCODER_TUNABLE)
        return value

    @model_validator(mode="after")
    def _overrides_keep_the_bounds(self) -> "DistillConfig":
        for method in self.overrides:
            self.of(method)
        return self

    def of(self, system: str) -> "DistillConfig":
        """The settings of one method: its overrides taken in. The supervised reference has none."""
        chosen = next((values for method, values in self.overrides.items() if method == system), {})
        return DistillConfig.model_validate({**self.model_dump(exclude={"overrides"}), **chosen})


DecoderMethod = Literal[
    "answers",
    "cot",
    "cot-kd",
    "mechanistic",
    "mechanistic-kd",
    "mechanistic-no-p1",
    "mechanistic-no-p2",
    "mechanistic-no-p1-attention",
    "mechanistic-no-p1-write",
    "mechanistic-no-p1-interaction",
    "mechanistic-no-p2-loop",
    "mechanistic-no-p2-write",
    "mechanistic-no-p2-interaction",
    "mechanistic-random-heads",
]
DECODER_METHODS: tuple[DecoderMethod, ...] = get_args(DecoderMethod)
DECODER_TUNABLE = ("learning_rate", "lambda_p1", "lambda_p2", "lambda_kd", "weight_decay")
"""Settings of decoder students that may differ between methods: what a search chooses."""


class DecoderStudentsConfig(Section):
    """Training decoder students, which write the trace; every method has the same traces, steps, batches, order and seeds."""

    methods: tuple[DecoderMethod, ...] = Field(
        ("answers", "cot", "cot-kd", "mechanistic", "mechanistic-random-heads"), min_length=1, description="What is trained."
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="One student a method and seed.")
    student: str | None = Field(
        None,
        description="A local Hugging Face decoder to start from, with the teacher's tokenizer. Null: a small one of the sizes "
        "below, drawn by the seed; its teacher must be `decoder`.",
    )
    layers: int = Field(2, ge=1, le=128, description="Decoder layers of the small student.")
    d_model: int = Field(64, ge=16, le=8192, description="Width of its residual stream.")
    heads: int = Field(4, ge=1, le=128, description="Query heads a layer.")
    kv_heads: int = Field(4, ge=1, le=128, description="Key and value heads a layer.")
    train_steps: int = Field(300, ge=1, description="Most optimiser steps.")
    max_cpu_s: float | None = Field(
        None, gt=0, description="Train each student for so many CPU seconds instead: steps are what fits. Null: the steps above."
    )
    batch_size: int = Field(16, ge=1, description="Documents an optimiser step.")
    accumulation: int = Field(1, ge=1, description="Parts a batch is computed in; the sum is that of the whole batch.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak of a one-cycle schedule.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW.")
    lambda_p1: float = Field(0.3, ge=0, description="Weight of the three phase-1 terms (prototype: 0.3).")
    lambda_p2: float = Field(0.3, ge=0, description="Weight of the three phase-2 terms.")
    lambda_kd: float = Field(0.5, ge=0, description="Weight of the divergence from the teacher's next-token distribution.")
    kd_top: int = Field(16, ge=1, le=4096, description="The teacher's likeliest tokens that are kept of each distribution.")
    phase1_heads: int = Field(3, ge=1, description="Teacher heads of highest CoarseScore that are imitated.")
    phase2_heads: int = Field(3, ge=1, description="Teacher heads of highest RefineScore that are imitated.")
    match_frac: Fraction = Field(
        0.1, description="Share of the steps after which heads are matched; until then the loss is that of `cot`."
    )
    match_documents: int = Field(64, ge=1, description="Development documents that the student's heads are scored on for it.")
    dev_frac: Fraction = Field(0.1, description="Train documents kept for development, those of the teacher decoder included.")
    patience: int | None = Field(
        None, ge=1, description="Checkpoints without a lower development loss after which training stops; null: never."
    )
    checkpoint_steps: int = Field(100, ge=1, description="Steps between checkpoints; a killed training goes on from the last.")
    lora_rank: int | None = Field(None, ge=1, le=1024, description="Train adapters of this rank only; null: all weights.")
    precision: Literal["no", "bf16", "fp16"] = Field("no", description="Mixed precision, as accelerate names it.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: cuda if there is one.")
    overrides: dict[DecoderMethod, dict[str, float]] = Field(
        {}, description="Settings of single methods: learning_rate, weight_decay, lambda_p1, lambda_p2, lambda_kd."
    )

    @field_validator("overrides")
    @classmethod
    def _overrides_what_may_differ(cls, value: dict[DecoderMethod, dict[str, float]]) -> dict[DecoderMethod, dict[str, float]]:
        _refuse_others(value.values(), DECODER_TUNABLE)
        return value

    @model_validator(mode="after")
    def _heads_suffice(self) -> "DecoderStudentsConfig":
        if self.d_model % self.heads or self.heads % self.kv_heads:
            raise ValueError("d_model must be a multiple of heads, and heads a multiple of kv_heads")
        if self.student is None and self.phase1_heads + self.phase2_heads > self.layers * self.heads:
            raise ValueError(
                f"phase1_heads + phase2_heads = {self.phase1_heads + self.phase2_heads}, but the student has "
                f"{self.layers * self.heads} heads, and each imitates at most one"
            )
        for method in self.overrides:
            self.of(method)
        return self

    def of(self, method: DecoderMethod) -> "DecoderStudentsConfig":
        """The settings of one method: its overrides taken in."""
        return DecoderStudentsConfig.model_validate({**self.model_dump(exclude={"overrides"}), **self.overrides.get(method, {})})


class FidelityConfig(Section):
    """How decoder students reason: what they write of test documents, and what it is worth."""

    max_documents: int | None = Field(None, ge=1, description="Test documents that students write of; null: all with a trace.")
    prediction_count: int = Field(100, ge=1, le=1000, description="Labels kept a document and student.")
    positions: int = Field(10, ge=2, le=100, description="Bins of relative position of Focus and Confusion.")
    read_out: Literal["written", "next"] = Field(
        "written",
        description="Labels are ranked by the answers as written, then by the distribution before the first answer (`written`), "
        "or by that distribution alone (`next`).",
    )
    is_form_held: bool = Field(
        True, description="Students write nothing that breaks the form of a trace; false: what is likeliest."
    )
    sample_count: int = Field(
        0, ge=0, le=256, description="Traces drawn a document: `<system>-sampled` ranks by the mean after them; 0: none."
    )
    sampled_methods: tuple[DecoderMethod, ...] | None = Field(
        None, description="Methods whose students' traces are drawn; null: all that write traces."
    )
    temperature: float = Field(0.7, gt=0, le=10, description="Of the traces that are drawn.")
    trajectory_documents: int = Field(200, ge=1, description="Test documents whose steps are embedded.")
    near_miss_count: int = Field(10, ge=1, le=200, description="Labels in N(x), as `characterize.near_miss_count`.")
    batch_size: int = Field(128, ge=1, description="Documents written at once.")
    simulator_folds: int = Field(5, ge=2, le=20, description="Parts that simulators are trained across.")
    bootstrap_count: int = Field(10_000, ge=10, le=100_000, description="Resamples of an interval (Hase et al.: 10,000).")
    seed: int = Field(0, description="Draws documents, folds and resamples.")


class SearchConfig(Section):
    """Choosing settings by random search: as many trials for every method, judged on the development part of train."""

    trials: int = Field(8, ge=1, le=1000, description="Settings tried; the same ones for every method. The first is the default.")
    seeds: tuple[int, ...] = Field((100,), min_length=1, description="Seeds a trial is averaged over; none that is reported.")
    seed: int = Field(0, description="Draws the settings.")
