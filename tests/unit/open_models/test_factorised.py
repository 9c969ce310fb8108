"""The decoder sees no later token, and as a plain Llama is what it was in training."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tasks.decoders.material import token_vectors
from tasks.decoders.training import train
from tasks.open_models.factorised import FactorisedDecoder, centred, materialise, new_decoder
from tasks.open_models.lessons import make_batch
from tests.unit.decoders.lessons_of import SETTINGS, decoder, lessons, material


@pytest.fixture(scope="module")
def trained() -> tuple[FactorisedDecoder, torch.Tensor]:
    """A decoder trained for a moment, and token ids of some sequences."""
    made = material()
    model = decoder(made)
    taught = lessons(made)
    train(model, taught, SETTINGS)
    return model.eval(), make_batch(taught.train[:3], taught.pad_id).token_ids


@torch.no_grad()
def test_a_later_token_changes_no_earlier_logit(trained: tuple[FactorisedDecoder, torch.Tensor]) -> None:
    model, ids = trained
    rows = torch.arange(ids.numel())
    before = model(ids, rows).view(*ids.shape, -1)
    for place in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % len(model.table())
        after = model(changed, rows).view(*ids.shape, -1)
        assert torch.equal(before[:, :place], after[:, :place])
        assert not torch.equal(before[:, place], after[:, place])


@torch.no_grad()
def test_materialise_gives_a_plain_model_with_the_same_logits(trained: tuple[FactorisedDecoder, torch.Tensor]) -> None:
    model, ids = trained
    plain = materialise(model)
    logits = plain(input_ids=ids).logits
    torch.testing.assert_close(logits.flatten(0, 1), model(ids, torch.arange(ids.numel())), atol=1e-5, rtol=1e-5)
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert plain.config.num_key_value_heads == 2


def test_new_decoder_draws_the_same_weights_by_seed_and_leaves_torch_alone() -> None:
    vectors = torch.ones(20, 8)
    state = torch.get_rng_state()
    first, again = (new_decoder(SETTINGS, vectors, 64) for _ in range(2))
    other = new_decoder(SETTINGS.model_copy(update={"seed": 5}), vectors, 64)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.map.weight, other.map.weight)
    assert not torch.equal(first.body.model.embed_tokens.weight, other.body.model.embed_tokens.weight)


def test_a_decoder_drawn_while_another_is_written_out_has_the_same_weights() -> None:
    vectors = torch.ones(20, 8)
    expected = new_decoder(SETTINGS, vectors, 64)
    with ThreadPoolExecutor(2) as pool:
        written = pool.submit(lambda: [materialise(expected) for _ in range(40)])
        drawn = pool.submit(lambda: [new_decoder(SETTINGS, vectors, 64) for _ in range(40)]).result()
        written.result()
    for one in drawn:
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), expected.parameters(), strict=True))


def test_centred_takes_away_what_all_have_in_common() -> None:
    found = centred(torch.tensor([[1.0, 5.0], [-1.0, 5.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))


def test_token_vectors_stand_in_the_order_of_the_vocabulary() -> None:
    labels, words = torch.randn(3, 4).numpy(), torch.randn(2, 4).numpy()
    found = token_vectors(labels, words)
    assert found.shape == (9 + 5, 4)
    assert not found[:9].any()
    torch.testing.assert_close(found[9:12], centred(torch.from_numpy(labels)))
    torch.testing.assert_close(found[12:], centred(torch.from_numpy(words)))
