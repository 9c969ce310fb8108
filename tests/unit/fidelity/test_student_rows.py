import numpy as np

from tasks.fidelity.simulators import document_kernel, draw_folds
from tasks.fidelity.student_rows import (
    WritingTask,
    draw_and_rank,
    first_labels,
    in_order,
    prediction_rows,
    simulate_student,
    simulated_of,
    write_and_rank,
)
from tasks.open_models.read_out import Writing, make_speaker
from tests.support.planted_decoder import planted_decoder
from tests.support.planted_stage import NAMES, tokenizer

TOKENS = {i: f"@u{i}" for i in range(len(NAMES))}
LABEL_IDS = {token: label for label, token in TOKENS.items()}
SHORT, LONG = "<document> plaina typing hosting", "<document> plainb plainc drawing"


def writing(filtered: dict[str, list[int]] | None = None) -> WritingTask:
    prompts = tuple([int(one) for one in tokenizer()(text).input_ids] for text in (SHORT, LONG))
    return WritingTask(("a", "b"), prompts, filtered or {}, LABEL_IDS, 4, Writing(12, 8))


def test_write_and_rank_gives_a_row_a_document() -> None:
    rows = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing(), "next")
    assert rows["document_id"].to_list() == ["a", "b"]
    assert rows["label_id"].list.len().to_list() == [4, 4]
    assert set(rows["label_id"][0].to_list()[:2]) == {0, 1}
    assert rows["label_id"][1][0] == 2
    assert all(scores.is_sorted(descending=True) for scores in rows["score"])


def test_write_and_rank_leaves_filtered_pairs_out_and_fills_their_place() -> None:
    rows = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing({"b": [2]}), "next")
    assert 2 not in rows["label_id"][1]
    assert rows["label_id"].list.len().to_list() == [4, 4]


def test_write_and_rank_of_answers_as_written_puts_them_first() -> None:
    rows = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, False, 2), writing(), "written")
    for text, labels, scores in rows.select("written_text", "label_id", "score").iter_rows():
        said = list(dict.fromkeys(token for token in text.split() if token.startswith("@")))[:4]
        assert [TOKENS[label] for label in labels[: len(said)]] == said
        assert all(score >= 1 for score in scores[: len(said)])


def test_draw_and_rank_gives_probabilities_and_leaves_filtered_pairs_out() -> None:
    rows = draw_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing({"b": [2]}), 3)
    assert rows["document_id"].to_list() == ["a", "b"]
    assert 2 not in rows["label_id"][1]
    for scores in rows["score"]:
        assert scores.is_sorted(descending=True)
        assert 0 < scores.exp().sum() <= 1
    assert prediction_rows(rows).filter(document_id="b")["rank"].to_list() == [1, 2, 3, 4]


def test_prediction_rows_count_ranks_from_1() -> None:
    written = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing(), "next")
    rows = prediction_rows(written)
    assert rows.filter(document_id="b")["rank"].to_list() == [1, 2, 3, 4]
    assert rows.filter(document_id="b")["label_id"].to_list() == written["label_id"][1].to_list()
    assert first_labels(written).tolist()[1] == 2


def test_simulate_student_has_a_row_a_document() -> None:
    written = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing(), "next")
    rows = simulate_student(written, document_kernel([SHORT, LONG]), dict(enumerate(NAMES)), draw_folds(2, 2, 0))
    assert rows["document_id"].to_list() == ["a", "b"]
    assert not simulated_of(rows).x.any()  # each label once


def test_in_order_has_a_gap_where_there_is_no_row() -> None:
    written = write_and_rank(make_speaker(planted_decoder(), tokenizer(), TOKENS, True, 2), writing(), "next")
    found = in_order(written.with_columns(n=1.5), "n", ["b", "c"])
    assert found[0] == 1.5
    assert np.isnan(found[1])
