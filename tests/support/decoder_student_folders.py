"""Folders of decoder students, as the stage that trains them leaves them."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from transformers import PreTrainedModel

from schemas.decoders import DecoderStudentDescription, TeacherReference
from schemas.refs import ArtifactRef, LabelReference, RunRef
from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from tasks.open_models.models import ModelRef
from tests.support.planted_decoder import planted_decoder
from tests.support.planted_stage import DEV, tokenizer
from warehouse.decoder_students_store import save_decoder_student, students_dir
from warehouse.parquet import artifact_ref


def save_planted_student(
    run: RunRef,
    teacher: ModelRef,
    method: DecoderMethod,
    seed: int,
    model: PreTrainedModel | None = None,
) -> Path:
    """A student with the weights of the planted decoder, or others of its vocabulary."""
    made = model or planted_decoder()
    description = DecoderStudentDescription(
        system=f"decoder-{method}", method=method, seed=seed, dataset=run.dataset, run_id=run.run_id, fingerprint="f",
        settings=DecoderStudentsConfig(),
        teacher=TeacherReference(
            name=teacher.name, content_hash=teacher.content_hash, is_compact=teacher.is_compact, document_words=48,
            evidence_words=2, prompt_text=None, max_tokens=64,
        ),
        embedder="none", label_index=LabelReference(path="i", label_embedder="e", document_embedder="e"), labels_hash="h",
        parameter_count=1, body_parameter_count=1, trained_count=1, document_count=1, left_out_count=0,
        dev_document_ids=tuple(f"dev{i}" for i in range(DEV)), dev_losses={}, step_count=1, best_step=None, train_cpu_s=1.0,
        tokens_per_cpu_s=1.0, peak_memory_bytes=1, matched_heads=(),
    )  # fmt: skip

    def write(folder: Path) -> None:
        made.save_pretrained(folder)
        tokenizer().save_pretrained(folder)

    path = students_dir(run.root_path, run.run_id) / f"{description.system}-seed{seed}"
    save_decoder_student(path, write, description, "", pl.DataFrame({"a": [1]}))
    return path


def students_artifact(run: RunRef, saved: Sequence[Path]) -> ArtifactRef:
    """The artifact that holds these students."""
    return artifact_ref(run, "distill-decoder", "decoder_students", saved[0].parent)
