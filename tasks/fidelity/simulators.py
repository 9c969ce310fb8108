"""Leakage-adjusted simulability: does the rationale help a simulator predict the student's own output?

The output that is simulated is the student's first label: of the set it predicts, the one it ranks highest; a simulator is
right if the class it scores highest is that label. A label that no document of the training part has cannot be simulated, and
counts as wrong, with and without the rationale. Simulators are linear: ridge regression on a class's indicator from TF-IDF of
words and pairs of words, the same for every student, cross-fitted, so that no document is predicted by what has seen it.

Source: Hase, Zhang, Xie and Bansal, Leakage-Adjusted Simulatability, Findings of EMNLP 2020, arXiv:2010.04119.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge

from tasks.sequences.compact import LABEL_MARK
from tasks.sequences.words import find_words

Kernel = Float[np.ndarray, "document document"]
Right = Bool[np.ndarray, " document"]
Labels = Int[np.ndarray, " document"]

ALPHA = 1.0
"""Ridge penalty, scikit-learn's default."""

MASK = "<label>"
"""Stands for every label token in a masked rationale."""


def text_kernel(texts: Sequence[str]) -> Kernel:
    """Inner products of the texts' TF-IDF vectors, of words and pairs of words between white space; zero for empty texts."""
    if not any(text.split() for text in texts):
        return np.zeros((len(texts), len(texts)))
    vectors = TfidfVectorizer(analyzer=_terms, sublinear_tf=True).fit_transform(texts)
    return np.asarray((vectors @ vectors.T).toarray(), dtype=np.float64)


def _terms(text: str) -> list[str]:
    words = text.split()
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def document_kernel(texts: Sequence[str]) -> Kernel:
    """The kernel of documents, of their folded words."""
    return text_kernel([" ".join(word.text for word in find_words(text)) for text in texts])


def draw_folds(document_count: int, fold_count: int, seed: int) -> Int[np.ndarray, " document"]:
    """The fold of each document, equal in size to within one; the same for all students."""
    return np.random.default_rng(seed).permutation(document_count) % fold_count


def cross_fit(kernel: Kernel, labels: Labels, folds: Int[np.ndarray, " document"]) -> Right:
    """Which documents' label a simulator predicts that was trained on the other folds.

    Args:
        kernel: inner products of what the simulator reads; a constant is added to it.
        labels: the label to predict.
        folds: of `draw_folds`.
    """
    classes, places = np.unique(labels, return_inverse=True)
    indicator = np.eye(len(classes))[places]
    read = kernel + 1.0
    is_right = np.zeros(len(labels), dtype=bool)
    for fold in np.unique(folds):
        held = folds == fold
        if held.all():
            continue
        simulator = KernelRidge(alpha=ALPHA, kernel="precomputed").fit(read[np.ix_(~held, ~held)], indicator[~held])
        scores = simulator.predict(read[np.ix_(held, ~held)])
        is_right[held] = scores.argmax(axis=1) == places[held]
    return is_right


@dataclass(frozen=True)
class Simulated:
    """Documents that simulators are right on, from the document (x), the rationale (e) and both; `masked`: labels hidden in e."""

    x: Right
    e: Right
    xe: Right
    masked_e: Right
    masked_xe: Right


def simulate(
    documents: Kernel, rationales: Sequence[str], masked: Sequence[str], labels: Labels, folds: Int[np.ndarray, " document"]
) -> Simulated:
    """Five cross-fitted simulators of one student.

    Args:
        documents: of `document_kernel`.
        rationales: what the student wrote before its answer.
        masked: the same without labels, of `mask_labels`.
        labels: the student's first label of each document.
        folds: of `draw_folds`.
    """
    said, hidden = text_kernel(rationales), text_kernel(masked)
    kernels = (documents, said, documents + said, hidden, documents + hidden)
    return Simulated(*(cross_fit(kernel, labels, folds) for kernel in kernels))


def mask_labels(rationales: Sequence[str], words: Collection[str]) -> list[str]:
    """Rationales without what names a label: its token becomes `MASK`, and a word of a label's name is left out.

    Args:
        rationales: compact text.
        words: of `name_words`.
    """
    return [
        " ".join(MASK if token.startswith(LABEL_MARK) else token for token in text.split() if token not in words)
        for text in rationales
    ]


def name_words(names: Mapping[int, str], label_ids: Collection[int]) -> frozenset[str]:
    """The folded words of the names of some labels: of all that a student ranks first of any document."""
    return frozenset(word.text for label in label_ids for word in find_words(names[int(label)]))
