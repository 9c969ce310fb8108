"""A student as named arrays and a description, and back. Labels are remembered by uid: rows may change, uids do not."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from schemas.errors import StorageError
from schemas.refs import LabelReference
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student
from tasks.students.features import EVIDENCE, FEATURES, Memory
from tasks.students.matrices import Matrix, fill_matrix, sparse
from tasks.students.networks import EVIDENCE_WEIGHTS, Refiner, Shortlister
from tasks.students.ridge import RidgeVotes

Arrays = dict[str, NDArray[np.generic]]


class StudentDescription(BaseModel):
    """What a student is, what it was trained on, and what it needs to serve.

    What folders of older versions do not say is null. `calibration` is null also where too few development
    documents have an answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["encoder"] = "encoder"
    system: str
    seed: int
    dataset: str
    run_id: str
    fingerprint: str
    embedder: str
    document_tokens: int
    label_tokens: int
    d_model: int
    evidence: tuple[str, ...] = EVIDENCE
    features: tuple[str, ...] = FEATURES
    shortlist_size: int
    shortlister_steps: int
    refiner_steps: int
    max_cpu_s: float | None = None
    batch_size: int
    learning_rate: float
    weight_decay: float | None = None
    temperature: float | None = None
    lambda_p1: float
    lambda_p2: float
    label_count: int
    labels_hash: str
    document_count: int
    left_out_count: int
    dev_document_count: int
    dev_metrics: dict[str, float]
    parameter_count: int
    train_cpu_s: float
    remembered_uids: tuple[str, ...]
    precision: Literal["float32", "bfloat16"] = "float32"
    label_index: LabelReference | None = None
    calibration: Calibration | None = None

    @property
    def name(self) -> str:
        """The student's folder."""
        return f"{self.system}-seed{self.seed}"


def parameter_count(student: Student) -> int:
    """Trained numbers of both networks."""
    networks = (student.shortlister, student.refiner)
    return sum(weight.numel() for network in networks for weight in network.parameters())


def pack_student(student: Student, label_uids: Sequence[str]) -> tuple[Arrays, tuple[str, ...]]:
    """Weights and memory by name, and the uids of the labels that the memory speaks of.

    Args:
        student: to be stored.
        label_uids: uid of each label row.
    """
    memory = student.memory
    used = np.unique(np.concatenate([memory.grades.indices, memory.answers.indices, memory.listed.labels]))
    arrays: Arrays = {
        "memory.vectors": memory.vectors,
        "memory.buckets": memory.buckets,
        "memory.idf": memory.idf,
        **_pack_matrix("memory.words", memory.words),
        **_pack_matrix("memory.grades", sparse(memory.grades[:, used])),
        **_pack_matrix("memory.answers", sparse(memory.answers[:, used])),
        **_pack_ridge("memory.ridge", memory.ridge, used),
        **_pack_ridge("memory.listed", memory.listed, used),
    }
    for part, network in (("shortlister", student.shortlister), ("refiner", student.refiner)):
        arrays |= {f"{part}.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    return arrays, tuple(label_uids[i] for i in used.tolist())


def unpack_student(arrays: Arrays, description: StudentDescription, label_uids: Sequence[str]) -> Student:
    """The student, for the labels as they are now; what it remembers of labels that are gone is forgotten.

    Args:
        arrays: from `pack_student`.
        description: of the same student.
        label_uids: uid of each label row now.

    Raises:
        StorageError: the arrays are not those of the description, or the student is of a version with other evidence.
    """
    if (description.evidence, description.features) != (EVIDENCE, FEATURES):
        raise StorageError(
            f"student {description.name}: is of another version, it sees {', '.join(description.evidence)} where this one sees "
            f"{', '.join(EVIDENCE)}; run `ctd distill` again"
        )
    random = torch.Generator()
    shortlister = Shortlister(description.d_model, EVIDENCE_WEIGHTS, 1.0, random)
    refiner = Refiner(len(description.features), random)
    try:
        for part, network in (("shortlister", shortlister), ("refiner", refiner)):
            found = {name.removeprefix(f"{part}."): a for name, a in arrays.items() if name.startswith(f"{part}.")}
            network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in found.items()})
        memory = _unpack_memory(arrays, description.remembered_uids, label_uids)
    except (KeyError, RuntimeError, ValueError) as exc:
        raise StorageError(
            f"student {description.name}: weights and description differ ({exc}); run `ctd distill` again"
        ) from exc
    return Student(shortlister, refiner, memory)


def _unpack_memory(arrays: Arrays, remembered: Sequence[str], label_uids: Sequence[str]) -> Memory:
    row_of = {uid: row for row, uid in enumerate(label_uids)}
    rows = np.array([row_of.get(uid, -1) for uid in remembered], dtype=np.int64)
    buckets = arrays["memory.buckets"].astype(np.int32)
    return Memory(
        vectors=arrays["memory.vectors"].astype(np.float16),
        words=_unpack_matrix(arrays, "memory.words", np.arange(len(buckets)), len(buckets)),
        buckets=buckets,
        idf=arrays["memory.idf"].astype(np.float32),
        grades=_unpack_matrix(arrays, "memory.grades", rows, len(label_uids)),
        answers=_unpack_matrix(arrays, "memory.answers", rows, len(label_uids)),
        ridge=_unpack_ridge(arrays, "memory.ridge", rows, len(label_uids)),
        listed=_unpack_ridge(arrays, "memory.listed", rows, len(label_uids)),
    )


def _pack_ridge(name: str, votes: RidgeVotes, used: NDArray[np.int64]) -> Arrays:
    return {
        f"{name}.labels": np.searchsorted(used, votes.labels).astype(np.int32),
        f"{name}.vectors": votes.vectors,
        **_pack_matrix(f"{name}.words", votes.words),
    }


def _unpack_ridge(arrays: Arrays, name: str, rows: NDArray[np.int64], label_count: int) -> RidgeVotes:
    labels = rows[arrays[f"{name}.labels"].astype(np.int64)]
    is_known = labels >= 0
    columns = np.where(is_known, np.cumsum(is_known) - 1, -1)
    words = _unpack_matrix(arrays, f"{name}.words", columns, int(is_known.sum()))
    return RidgeVotes(labels[is_known], words, arrays[f"{name}.vectors"].astype(np.float32)[:, is_known], label_count)


def _pack_matrix(name: str, matrix: Matrix) -> Arrays:
    return {
        f"{name}.starts": matrix.indptr.astype(np.int64),
        f"{name}.columns": matrix.indices.astype(np.int32),
        f"{name}.values": matrix.data.astype(np.float32),
    }


def _unpack_matrix(arrays: Arrays, name: str, column_rows: NDArray[np.int64], width: int) -> Matrix:
    """The matrix with column i moved to `column_rows[i]`; -1 drops it."""
    starts = arrays[f"{name}.starts"].astype(np.int64)
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    columns = column_rows[arrays[f"{name}.columns"].astype(np.int64)]
    is_known = columns >= 0
    values = arrays[f"{name}.values"].astype(np.float32)
    return fill_matrix(rows[is_known], columns[is_known], values[is_known], (len(starts) - 1, width))
