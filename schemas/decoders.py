"""What `decoder.json` in the folder of a trained decoder holds, and `student.json` in that of a student of a decoder."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.config import DecoderConfig
from schemas.refs import LabelReference
from schemas.student_settings import DecoderMethod, DecoderStudentsConfig


class DecoderDescription(BaseModel):
    """What a decoder was made from, and how well it does on the development documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    run_id: str
    fingerprint: str = Field(description="Hash of settings and inputs.")
    settings: DecoderConfig
    embedder: str
    label_count: int = Field(description="Labels with a token.")
    word_count: int = Field(description="Words with a token.")
    token_count: int
    body_parameter_count: int = Field(description="Trained numbers outside the table of tokens.")
    parameter_count: int
    document_count: int = Field(description="Train documents that it was trained on.")
    left_out_count: int = Field(description="Train documents without a usable trace, or more than the training can see once.")
    dev_document_ids: tuple[str, ...] = Field(description="Train documents that it was not trained on.")
    unknown_frac: float = Field(description="Share of the tokens of its training texts that have no token.")
    dev_losses: dict[str, float] = Field(description="Nats a token on development documents, by phase and in total.")
    format_frac: float = Field(description="Share of the traces it writes of development documents that keep the form.")
    format_document_count: int = Field(description="Development documents that it wrote traces of.")
    train_cpu_s: float = Field(description="CPU seconds of the run that ended the training; not of one it went on from.")
    tokens_per_cpu_s: float = Field(description="Tokens trained on a CPU second, the document's included.")
    written_tokens_per_cpu_s: float = Field(description="Tokens written a CPU second.")


class TeacherReference(BaseModel):
    """The decoder that a student was taught by, and how documents are written for both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    content_hash: str
    is_compact: bool = Field(description="Documents and traces are in compact form; else the prompt and the teacher's own text.")
    document_words: int | None = Field(description="Words of a document that are read; null unless in compact form.")
    evidence_words: int | None = Field(description="Words that a refinement step keeps; null unless in compact form.")
    prompt_text: str | None = Field(description="What stands before a trace; null in compact form.")
    max_tokens: int = Field(description="Sequences are cut to this many tokens.")


class MatchedHead(BaseModel):
    """A head of the teacher and the student's that imitates it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matched_phase: str
    teacher_layer: int
    teacher_head: int
    student_layer: int
    student_head: int
    match_cost: float


class DecoderStudentDescription(BaseModel):
    """What a decoder student was made from, and how well it does on the development documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["decoder"] = "decoder"
    system: str
    method: DecoderMethod
    seed: int
    dataset: str
    run_id: str
    fingerprint: str = Field(description="Hash of settings, teacher, inputs and code.")
    settings: DecoderStudentsConfig = Field(description="Those of its method; the lists of methods and seeds do not count.")
    teacher: TeacherReference
    embedder: str
    label_index: LabelReference
    labels_hash: str
    parameter_count: int
    body_parameter_count: int = Field(description="Numbers outside the table of tokens.")
    trained_count: int = Field(description="Numbers that were trained: all, or those of adapters.")
    document_count: int = Field(description="Train documents that it was trained on.")
    left_out_count: int = Field(description="Train documents without a usable trace, or more than the training can see once.")
    dev_document_ids: tuple[str, ...] = Field(description="Train documents kept for development.")
    dev_losses: dict[str, float] = Field(description="Nats a token on development documents, by phase and in total.")
    step_count: int = Field(description="Steps done.")
    best_step: int | None = Field(description="Steps after which its weights were taken; null: the last.")
    train_cpu_s: float = Field(description="CPU seconds of the training, that of earlier runs it went on from included.")
    tokens_per_cpu_s: float = Field(description="Tokens trained on a CPU second, padding included.")
    peak_memory_bytes: int = Field(description="Most memory of the process, or of the CUDA device, until it was trained.")
    matched_heads: tuple[MatchedHead, ...]
