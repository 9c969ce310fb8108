"""Folders of embedders built on the spot: a one-layer BERT with random weights and a tokenizer of nine words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "editor", "text")
WIDTH, POSITIONS = 16, 20


def word_tokenizer() -> Tokenizer:
    """A tokenizer that splits at spaces and puts `[CLS]` and `[SEP]` around."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers saves it."""
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # theirs
        tokenizer_object=word_tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    wrapped.save_pretrained(folder)
    return wrapped


def save_bert(folder: Path) -> BertModel:
    """The BERT, without a tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=WIDTH,
        max_position_embeddings=POSITIONS,
    )  # fmt: skip
    model = BertModel(config)
    model.train(False)
    model.save_pretrained(folder)
    return model


def token_vectors(model: BertModel, tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """The model's own vectors of a text's tokens, [token, dimension]."""
    given = tokenizer([text], return_tensors="pt")
    with torch.inference_mode():
        states: torch.Tensor = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
    return states[0]
