"""What stages hand each other: references to published tables and artifacts, never frames or models."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from schemas.config import PipelineConfig


class Frozen(BaseModel):
    """A value that cannot change after it is made and takes no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TableRef(Frozen):
    """One table on disk: a Parquet file or a folder of Parquet parts."""

    table: str
    dataset: str
    run_id: str
    stage: str
    path: str
    content_hash: str
    row_count: int


class ArtifactRef(Frozen):
    """One thing on disk that is not a table: a label index, a student folder, a page."""

    name: str
    dataset: str
    run_id: str
    stage: str
    path: str
    content_hash: str


class LabelReference(Frozen):
    """The label index a student was trained with: where it stands below the data root, and the embedders by content."""

    path: str
    label_embedder: str
    document_embedder: str


class StageCost(Frozen):
    """What a stage used; a null means unknown, never free."""

    request_count: int = 0
    prompt_tokens: int | None = 0
    cached_tokens: int | None = 0
    completion_tokens: int | None = 0
    reasoning_tokens: int | None = 0
    answer_tokens: int | None = 0
    cost_usd: float | None = None
    total_request_count: int = 0
    total_prompt_tokens: int | None = 0
    total_cached_tokens: int | None = 0
    total_completion_tokens: int | None = 0
    total_reasoning_tokens: int | None = 0
    total_answer_tokens: int | None = 0
    total_cost_usd: float | None = None
    rows_in_count: int = 0
    rejected_count: int = 0


class StageResult(Frozen):
    """What a stage's task returns: the tables and artifacts it wrote, not yet published."""

    tables: tuple[TableRef, ...] = ()
    artifacts: tuple[ArtifactRef, ...] = ()
    cost: StageCost = StageCost()
    is_complete: bool = True
    """False: something failed that may pass, so the next run tries the stage again."""


class StageOutput(Frozen):
    """A published stage: its fingerprint (what it was made from), what it read and what it wrote."""

    stage: str
    dataset: str
    run_id: str
    fingerprint: str
    inputs: tuple[str, ...]
    tables: tuple[TableRef, ...]
    artifacts: tuple[ArtifactRef, ...]
    cost: StageCost
    duration_s: float
    published_at: str
    is_reused: bool = False
    is_complete: bool = True


class StageInputs(Frozen):
    """The published tables and artifacts a stage reads, by name."""

    tables: dict[str, TableRef]
    artifacts: dict[str, ArtifactRef]


class RunRef(Frozen):
    """One execution: where its data lives, its id, its dataset and its resolved settings (no secrets)."""

    root: str
    run_id: str
    dataset: str
    command: str
    config: PipelineConfig

    @property
    def root_path(self) -> Path:
        """The data root as a path."""
        return Path(self.root)


class RetryRules(Frozen):
    """Which requests are sent besides those never sent: failed ones that may pass, or those that ended for `reasons`.

    A reason is an error kind, or the finish reason of a cut answer (`length`, `connection_cut`).
    """

    is_only_failed: bool = False
    reasons: tuple[str, ...] = ()
