"""What a decoder student's folder and the table of matched heads say of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl

from schemas.decoders import DecoderStudentDescription, MatchedHead, TeacherReference
from schemas.refs import LabelReference
from schemas.tables import CORE_HEAD_MATCHES
from tasks.decoder_students.imitation import Tutor
from tasks.decoder_students.machine import peak_memory
from tasks.decoder_students.material import Split
from tasks.decoder_students.methods import Plan, system_of
from tasks.decoder_students.training import Training
from tasks.open_models.steps import StepLoss


@dataclass(frozen=True)
class Origin:
    """What all students of a stage come from."""

    dataset: str
    run_id: str
    teacher: TeacherReference
    embedder: str
    label_index: LabelReference
    labels_hash: str
    split: Split


def describe(
    origin: Origin, training: Training, plan: Plan, made_from: str, counts: tuple[int, int, int]
) -> DecoderStudentDescription:
    """What `student.json` says.

    Args:
        origin: what all students of the stage come from.
        training: of the student, done.
        plan: of the student.
        made_from: its fingerprint.
        counts: its numbers, those outside the table of tokens, and those that were trained.
    """
    reached, split = training.progress, origin.split
    best = reached.best_step if training.settings.patience is not None else None
    matches = training.guide.imitated() if isinstance(training.guide, Tutor) else ()
    return DecoderStudentDescription(
        system=system_of(plan.method),
        method=plan.method,
        seed=plan.seed,
        dataset=origin.dataset,
        run_id=origin.run_id,
        fingerprint=made_from,
        settings=training.settings,
        teacher=origin.teacher,
        embedder=origin.embedder,
        label_index=origin.label_index,
        labels_hash=origin.labels_hash,
        parameter_count=counts[0],
        body_parameter_count=counts[1],
        trained_count=counts[2],
        document_count=len(split.train),
        left_out_count=split.left_out_count,
        dev_document_ids=tuple(sorted(split.dev)),
        dev_losses=dev_losses(reached.losses, (best or reached.step) - 1),
        step_count=reached.step,
        best_step=best,
        train_cpu_s=reached.cpu_s,
        tokens_per_cpu_s=reached.token_count / max(reached.cpu_s, 1e-9),
        peak_memory_bytes=peak_memory(training.learner.device),
        matched_heads=tuple(MatchedHead(**asdict(match)) for match in matches),
    )


def dev_losses(losses: Sequence[StepLoss], step: int) -> dict[str, float]:
    """Nats a token on development documents after a step, by phase and in total."""
    found = [loss for loss in losses if loss.train_step == step and loss.loss_name.startswith("dev_")]
    return {loss.loss_name.removeprefix("dev_"): loss.loss_nats for loss in found}


def match_rows(dataset: str, described: Sequence[DecoderStudentDescription]) -> pl.DataFrame:
    """Rows of `core_head_matches`."""
    rows = [
        {"dataset": dataset, "system": one.system, "seed": one.seed, **match.model_dump()}
        for one in described
        for match in one.matched_heads
    ]
    return pl.DataFrame(rows) if rows else CORE_HEAD_MATCHES.empty()
