"""Fast tokenizers of every kind, made in memory from a few texts."""

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Maker = Callable[[Sequence[str]], PreTrainedTokenizerFast]

TEMPLATE = "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}{% endfor %}<|assistant|>"


def _fast(inner: Tokenizer, **specials: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=inner, **specials)  # type: ignore[no-untyped-call]


def byte_level(texts: Sequence[str], size: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE as in GPT-2; nothing is unknown to it, and it adds no special tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False)
    inner.train_from_iterator(texts, trainer)
    return _fast(inner, eos_token="<s>", pad_token="<s>")


def beginning(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts `<s>` before a text, with a chat template that writes it too (Llama 3)."""
    made = byte_level(texts)
    inner = made.backend_tokenizer
    start = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", inner.token_to_id("<s>"))])
    inner.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), start])
    return _fast(inner, bos_token="<s>", pad_token="<s>", chat_template=TEMPLATE)


def word_piece(texts: Sequence[str], size: int = 200) -> PreTrainedTokenizerFast:
    """WordPiece as in BERT: lower-cased, accents stripped, [CLS] before and [SEP] after."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    inner.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, show_progress=False))
    ids = [(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return _fast(inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")


def word_level(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A token for every word between white space; others are unknown."""
    words = dict.fromkeys(word for text in texts for word in text.split())
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", "<pad>", *words])}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _fast(inner, unk_token="<unk>", pad_token="<pad>")


MAKERS: dict[str, Maker] = {
    "byte-level BPE": byte_level,
    "BPE with a beginning": beginning,
    "WordPiece": word_piece,
    "WordLevel": word_level,
}
