import numpy as np
import pytest

from schemas.errors import StorageError
from schemas.student_settings import DistillConfig
from tasks.students.candidates import Student
from tasks.students.methods import PHASES
from tasks.students.packing import StudentDescription, pack_student, unpack_student
from tasks.students.training import train_student
from tests.unit.students import material

SETTINGS = DistillConfig(shortlister_steps=2, refiner_steps=2, batch_size=8, shortlist_size=6)
UIDS = [f"label{i}" for i in range(material.LABEL_COUNT)]


@pytest.fixture(scope="module")
def student() -> Student:
    texts, labels = material.texts(), material.label_vectors()
    return train_student(texts, material.supervision(), labels, SETTINGS, PHASES["answers"], 0)[0]


def described(uids: tuple[str, ...], **changes: object) -> StudentDescription:
    values: dict[str, object] = dict.fromkeys(
        ("system", "dataset", "run_id", "fingerprint", "embedder", "labels_hash"), "x"
    ) | dict.fromkeys(
        (
            "seed", "document_tokens", "label_tokens", "shortlist_size", "shortlister_steps", "refiner_steps", "batch_size",
            "learning_rate", "lambda_p1", "lambda_p2", "label_count", "document_count", "left_out_count", "dev_document_count",
            "parameter_count", "train_cpu_s",
        ),
        1,
    )  # fmt: skip
    return StudentDescription.model_validate(
        values | {"d_model": material.D_MODEL, "dev_metrics": {}, "remembered_uids": uids} | changes
    )


def test_unpack_student_gives_the_same_fitted_votes_though_labels_moved_and_one_is_gone(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    now = ["new", *reversed(UIDS[:-1])]
    found = unpack_student(arrays, described(remembered), now).memory
    words, vectors = student.memory.words, material.texts().vectors
    before, after = student.memory.ridge.vote(words, vectors).toarray(), found.ridge.vote(words, vectors).toarray()
    assert before[:, :-1].any()
    np.testing.assert_allclose(after[:, 1:], before[:, -2::-1], atol=1e-6)
    assert not after[:, 0].any()


def test_unpack_student_refuses_a_student_with_other_evidence(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    old = described(remembered, evidence=("wording", "vector_votes", "word_votes"))
    with pytest.raises(StorageError, match="is of another version, it sees wording, vector_votes, word_votes"):
        unpack_student(arrays, old, UIDS)
