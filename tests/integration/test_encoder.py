import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from transformers import BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from schemas.errors import ConfigError
from tasks.labels.encoder import PACKAGED, Precision, load_encoder, model_location
from tests.support.tiny_encoders import POSITIONS, WIDTH, WORDS, save_bert, save_tokenizer, token_vectors, word_tokenizer

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@pytest.fixture
def plain(tmp_path: Path) -> tuple[Path, BertModel, PreTrainedTokenizerFast]:
    """A plain encoder's folder, its model and its tokenizer."""
    folder = tmp_path / "plain"
    return folder, save_bert(folder), save_tokenizer(folder)


def unit(vector: torch.Tensor) -> list[float]:
    return [float(value) for value in vector / vector.norm()]


def test_a_plain_encoder_gives_the_mean_of_its_token_vectors_and_says_so_once(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast], caplog: pytest.LogCaptureFixture
) -> None:
    folder, model, tokenizer = plain
    with caplog.at_level(logging.INFO, "tasks.labels.encoder"):
        encoder = load_encoder(str(folder), 8, 4)
        found = encoder.encode(["a", "text editor a b c"])  # of two lengths: padding must not count
        encoder.encode(["b"])
    assert found[0].tolist() == pytest.approx(unit(token_vectors(model, tokenizer, "a").mean(0)), abs=1e-6)
    assert [r.getMessage() for r in caplog.records if r.name == "tasks.labels.encoder"] == [
        f"embedder {folder} is a plain encoder: the mean of its token vectors is taken"
    ]


def test_a_sentence_transformers_folder_keeps_its_pooling_and_its_default_prompt(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    folder, model, tokenizer = plain
    modules = [Transformer(str(folder)), Pooling(WIDTH, "cls")]
    made = SentenceTransformer(modules=modules, prompts={"query": "text "}, default_prompt_name="query")
    made.save(str(tmp_path / "made"))
    found = load_encoder(str(tmp_path / "made"), 8, 4).encode(["a b"])
    assert found[0].tolist() == pytest.approx(unit(token_vectors(model, tokenizer, "text a b")[0]), abs=1e-6)


def test_prompts_without_a_default_are_not_used_and_named(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    SentenceTransformer(
        modules=[Transformer(str(plain[0])), Pooling(WIDTH, "mean")], prompts={"query": "text ", "passage": "c "}
    ).save(str(tmp_path / "made"))
    with caplog.at_level(logging.INFO, "tasks.labels.encoder"):
        found = load_encoder(str(tmp_path / "made"), 8, 4).encode(["a b"])
    assert np.allclose(found, load_encoder(str(plain[0]), 8, 4).encode(["a b"]), atol=1e-6)
    assert "its prompts (query, passage) are not used" in caplog.text


def test_texts_are_cut_to_the_tokens_asked_for_and_lengths_say_so(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast],
) -> None:
    encoder = load_encoder(str(plain[0]), 5, 4)
    long, short, cut = encoder.encode(["a b c text text text", "a b", "a b c"])
    assert np.allclose(long, cut, atol=1e-6)
    assert not np.allclose(long, short, atol=1e-3)
    assert encoder.lengths(["a b c text text text", "a b"]).tolist() == [5, 4]


def test_vectors_do_not_hang_on_the_number_of_threads() -> None:
    encoder = load_encoder(PACKAGED, 32, 16)
    texts = [f"hosting plain{chr(97 + number % 26)}" for number in range(40)]
    count, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(encoder.encode(texts))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(count)
    assert all(np.array_equal(one, found[0]) for one in found[1:])


def test_batches_side_by_side_come_out_in_order(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast],
) -> None:
    encoder = load_encoder(str(plain[0]), 8, 2)
    texts = [" ".join(WORDS[4 + number // 5**place % 5] for place in range(number % 6 + 1)) for number in range(200)]
    count = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for _ in range(5):
            encoder.lengths(texts)  # leaves the tokenizer without padding
            found = encoder.encode(texts)
    finally:
        torch.set_num_threads(count)
    assert np.allclose(found, np.concatenate([encoder.encode([text]) for text in texts]), atol=1e-6)


def test_an_embedder_that_only_looks_words_up_is_cut_as_well(tmp_path: Path) -> None:
    SentenceTransformer(modules=[StaticEmbedding(word_tokenizer(), embedding_dim=WIDTH)]).save(str(tmp_path))
    encoder = load_encoder(str(tmp_path), 2, 4)
    long, cut, other = encoder.encode(["a b text", "a b", "a c"])
    assert np.allclose(long, cut)
    assert not np.allclose(long, other)
    assert encoder.lengths(["a b text", "a"]).tolist() == [2, 1]


def test_half_precision_gives_unit_vectors_near_those_of_full_precision(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast],
) -> None:
    full, half = (load_encoder(str(plain[0]), 8, 4, precision).encode(["a b", "text"]) for precision in PRECISIONS)
    assert np.linalg.norm(half, axis=1).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert not np.array_equal(full, half)
    assert (full * half).sum(axis=1).min() > 0.999


def test_more_tokens_than_the_model_has_positions_for_are_refused(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast],
) -> None:
    with pytest.raises(ConfigError, match=f"at most {POSITIONS} tokens, .* asks for {POSITIONS + 1}"):
        load_encoder(str(plain[0]), POSITIONS + 1, 4)
    assert load_encoder(str(plain[0]), POSITIONS, 4).encode(["a " * 99]).shape == (1, WIDTH)


def test_a_causal_language_model_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=WIDTH
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="type 'llama', which is no encoder; allowed are a sentence-transformers folder"):
        load_encoder(str(tmp_path), 8, 4)


def test_an_encoder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    save_bert(tmp_path)
    with pytest.raises(ConfigError, match=r"has no tokenizer .* allowed are"):
        load_encoder(str(tmp_path), 8, 4)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "cut off"])
def test_a_folder_whose_file_is_missing_or_cut_off_is_refused(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast], name: str, is_missing: bool
) -> None:
    path = plain[0] / name
    content = path.read_bytes()
    path.unlink()
    if not is_missing:
        path.write_bytes(content[:100])
    with pytest.raises(ConfigError, match=r"embed\.model = .*plain.* allowed are a sentence-transformers folder"):
        load_encoder(str(plain[0]), 8, 4)


def test_a_name_that_the_hub_cache_lacks_says_how_to_fetch_it() -> None:
    with pytest.raises(ConfigError, match="hf download org/none"):
        model_location("org/none")


def test_a_name_of_the_hub_cache_is_its_newest_snapshot(tmp_path: Path) -> None:
    cached = tmp_path / "models--org--mini"
    save_bert(cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    code = "from tasks.labels.encoder import model_location; print(model_location('org/mini'))"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"HF_HUB_CACHE": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == cached / "snapshots" / "abc"


def test_a_folder_may_be_named_without_a_leading_dot(
    plain: tuple[Path, BertModel, PreTrainedTokenizerFast], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain[0].parent)
    assert model_location("plain") == model_location("./plain") == plain[0].resolve()
