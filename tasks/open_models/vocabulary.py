"""The decoder's vocabulary, one token a mark, a label and a word, and its tokenizer."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import TrainingError
from tasks.open_models.serving import compact_template
from tasks.sequences.annotated import AnnotatedText
from tasks.sequences.compact import END, MARKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN = "<pad>", "<unk>"
FIRST = (PAD, UNKNOWN, *MARKS)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids: marks, labels, words."""

    label_ids: tuple[int, ...]
    label_tokens: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, by id."""
        return (*FIRST, *self.label_tokens, *self.words)


def choose_vocabulary(texts: Iterable[AnnotatedText], tokens: Mapping[int, str], max_labels: int, max_words: int) -> Vocabulary:
    """The labels that most compact texts name, and the words that stand in most of their documents.

    Args:
        texts: compact texts of the documents that are trained on.
        tokens: token of each label id.
        max_labels: most labels; of equally frequent ones the lower id.
        max_words: most words; of equally frequent ones the first by alphabet.

    Raises:
        TrainingError: no text names a label.
    """
    labels, words = Counter[str](), Counter[str]()
    for text in texts:
        labels.update(set(text.text[text.response_start :].split()))
        words.update(set(text.text[text.document.start : text.document.end].split()))
    counted = sorted((-labels[token], label) for label, token in tokens.items() if labels[token])
    if not counted:
        raise TrainingError("decoder: no trace of a train document names a label that links; look at core_shortlist")
    chosen = tuple(label for _, label in counted[:max_labels])
    frequent = sorted(words, key=lambda word: (-words[word], word))[:max_words]
    return Vocabulary(chosen, tuple(tokens[label] for label in chosen), tuple(frequent))


def make_tokenizer(vocabulary: Vocabulary, document_words: int) -> "PreTrainedTokenizerFast":
    """A tokenizer that knows exactly these tokens, between white space; everything else is `<unk>`.

    Args:
        vocabulary: the tokens; if NFKC leaves all of them as they are, texts are read in that form.
        document_words: words of a document that the chat template keeps.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: place for place, token in enumerate(vocabulary.tokens)}
    inner = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    compatible = normalizers.NFKC()
    if all(compatible.normalize_str(token) == token for token in vocabulary.tokens):
        inner.normalizer = compatible
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=compact_template(document_words),
    )
