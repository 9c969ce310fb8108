"""The family in which most documents refine."""

import numpy as np

from tasks.heads.label_family import LEAST_DOCUMENTS, label_family
from tasks.labels.search import LabelIndex
from tasks.sequences.tokens import TokenSequence
from tests.support.token_sequences import token_sequence

ANGLES = np.radians([0, 10, 20, 90, 100, 110])
INDEX = LabelIndex(np.arange(40, 46, dtype=np.int32), np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32))


def refining(name: str, *pairs: tuple[int, int]) -> TokenSequence:
    return token_sequence(name, [2, 3], [0], [40], pairs)


def test_label_family_is_centred_where_most_documents_refine() -> None:
    sequences = [refining("a", (43, 44)), refining("b", (45, 44), (40, 41)), refining("c", (43, 40)), refining("d", (41, 40))]
    found = label_family(sequences, INDEX, 3)
    assert found is not None
    assert (found.centre, found.label_ids, found.document_count) == (40, frozenset({40, 41, 42}), 2)


def test_label_family_counts_a_document_only_if_target_and_near_miss_are_of_it() -> None:
    found = label_family([refining("a", (40, 45)), refining("b", (44, 43)), refining("c", (44, 40))], INDEX, 2)
    assert found is not None
    assert (found.centre, found.document_count, found.is_large_enough) == (44, 1, False)


def test_label_family_of_enough_documents_is_large_enough() -> None:
    found = label_family([refining(f"d{number}", (40, 41)) for number in range(LEAST_DOCUMENTS)], INDEX, 2)
    assert found is not None
    assert found.is_large_enough


def test_label_family_may_be_all_labels() -> None:
    found = label_family([refining("a", (40, 45))], INDEX, 50)
    assert found is not None
    assert found.label_ids == set(range(40, 46))


def test_label_family_without_refinement_is_none() -> None:
    assert label_family([refining("a")], INDEX, 3) is None
