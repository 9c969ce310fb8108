import pytest
import torch

from tasks.fidelity.token_losses import document_losses
from tasks.open_models.read_out import make_speaker
from tests.support.planted_decoder import planted_decoder, planted_sequence
from tests.support.planted_stage import NAMES, tokenizer

SPEAKER = make_speaker(planted_decoder(), tokenizer(), {i: f"@u{i}" for i in range(len(NAMES))}, True, 2)


def test_document_losses_are_those_of_each_trace_alone() -> None:
    sequences = [planted_sequence(seed) for seed in range(5)]
    rows = document_losses(SPEAKER, sequences, 3)
    assert set(rows["document_id"]) == {one.document_id for one in sequences}
    for one in sequences:
        ids = torch.from_numpy(one.token_ids)
        with torch.inference_mode():
            nats = -SPEAKER.model(input_ids=ids[None]).logits[0].log_softmax(-1)
        expected = nats[torch.arange(one.response_start - 1, len(ids) - 1), ids[one.response_start :]]
        found = rows.filter(document_id=one.document_id).row(0, named=True)
        assert found["token_count"] == len(expected)
        assert found["loss_nats"] == pytest.approx(float(expected.mean()), rel=1e-5)


def test_document_losses_of_nothing_are_nothing() -> None:
    assert document_losses(SPEAKER, [], 3).is_empty()
