"""What `decoder.json` in the folder of a trained decoder holds."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.config import DecoderConfig


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
