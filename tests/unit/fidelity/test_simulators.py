import numpy as np
import pytest

from tasks.fidelity.measures import simulability
from tasks.fidelity.simulators import MASK, cross_fit, document_kernel, draw_folds, mask_labels, name_words, simulate, text_kernel

LABELS, DOCUMENTS = 4, 200


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(seed: int, count: int = DOCUMENTS) -> list[str]:
    """Texts that say nothing of anything."""
    return [" ".join(f"w{word}" for word in words) for words in draw(seed).integers(0, 40, (count, 6))]


def las(rationales: list[str], labels: np.ndarray, documents: list[str]) -> tuple[float, float]:
    """LAS and the masked LAS of a student."""
    folds = draw_folds(len(labels), 5, 0)
    found = simulability(simulate(document_kernel(documents), rationales, mask_labels(rationales, frozenset()), labels, folds))
    values = [
        np.mean([(value * weight).sum() / weight.sum() for value, weight in found[name].parts]) for name in ("las", "las_masked")
    ]
    return float(values[0]), float(values[1])


def test_text_kernel_is_the_cosine_of_words_and_pairs() -> None:
    kernel = text_kernel(["a b", "a b", "c d", ""])
    assert kernel[0, 1] == pytest.approx(1)
    assert kernel[0, 2] == 0
    assert kernel[3].tolist() == [0, 0, 0, 0]


def test_text_kernel_of_empty_texts_is_zero() -> None:
    assert not text_kernel(["", " "]).any()


def test_text_kernel_tells_the_order_of_words() -> None:
    kernel = text_kernel(["keep a drop b", "keep b drop a"])
    assert 0 < kernel[0, 1] < 1


def test_draw_folds_are_equal_in_size_and_the_same_again() -> None:
    folds = draw_folds(11, 4, 3)
    assert sorted(np.bincount(folds)) == [2, 3, 3, 3]
    assert np.array_equal(folds, draw_folds(11, 4, 3))


def test_cross_fit_finds_what_the_text_says() -> None:
    labels = draw(0).integers(0, LABELS, DOCUMENTS)
    assert cross_fit(text_kernel([f"says l{label}" for label in labels]), labels, draw_folds(DOCUMENTS, 5, 0)).all()


def test_cross_fit_of_noise_is_chance() -> None:
    labels = draw(0).integers(0, LABELS, DOCUMENTS)
    is_right = cross_fit(text_kernel(noise(1)), labels, draw_folds(DOCUMENTS, 5, 0))
    assert is_right.mean() < 1 / LABELS + 0.12


def test_cross_fit_never_learns_from_the_document_it_predicts() -> None:
    labels = np.arange(30)  # each label once: known only to who has seen the document itself
    assert not cross_fit(text_kernel([f"t{label}" for label in labels]), labels, draw_folds(30, 5, 0)).any()


def test_las_of_a_rationale_that_determines_the_output_is_high() -> None:
    labels = draw(0).integers(0, LABELS, DOCUMENTS)
    kept = draw(2).random(DOCUMENTS) < 0.7  # of the others only document and rationale together tell
    halves = [(label, 0) if full else divmod(label, 2) for label, full in zip(labels.tolist(), kept, strict=True)]
    documents = [f"{text} d{low if not full else 9}" for text, (_, low), full in zip(noise(3), halves, kept, strict=True)]
    rationales = [f"<shortlist> {f'@l{high}' if full else f'h{high}'}" for (high, _), full in zip(halves, kept, strict=True)]
    value, masked = las(rationales, labels, documents)
    assert value > 0.3
    assert masked < value


def test_las_of_a_rationale_that_is_noise_is_about_0() -> None:
    labels = draw(0).integers(0, LABELS, DOCUMENTS)
    documents = [f"{text} d{label}" for text, label in zip(noise(3), labels, strict=True)]
    value, masked = las(noise(4), labels, documents)
    assert abs(value) < 0.1
    assert abs(masked) < 0.1


def test_mask_labels_hides_tokens_and_words_of_names() -> None:
    words = name_words({0: "Text Editor", 1: "map"}, {0})
    assert words == {"text", "editor"}
    assert mask_labels(["<shortlist> @a <refine> <keep> @a editor fast", ""], words) == [
        f"<shortlist> {MASK} <refine> <keep> {MASK} fast",
        "",
    ]
