"""A few compact texts about words, and what a decoder is trained on of them."""

import torch

from schemas.config import DecoderConfig
from tasks.decoders.material import Material, prepare
from tasks.decoders.training import Lessons
from tasks.open_models.factorised import FactorisedDecoder, new_decoder
from tasks.sequences.annotated import AnnotatedText
from tasks.sequences.compact import CompactForm, annotate_compact, label_tokens
from tests.support.written_traces import NAMES, first_of, make_trace

SETTINGS = DecoderConfig(
    layers=2, d_model=32, heads=4, kv_heads=2, document_words=9, train_steps=12, batch_size=4, checkpoint_steps=5, max_words=100
)
TOKENS = label_tokens({1: "vim", 2: "vim gtk", 3: "gimp", 4: "nano"})
FORM = CompactForm(TOKENS, NAMES, SETTINGS.document_words, SETTINGS.evidence_words)
TOOLS = ("vim", "gimp", "nano")


def texts(count: int = 30) -> list[AnnotatedText]:
    """Traces of documents about one of three tools: it is kept, the next is dropped."""
    made = []
    for number in range(count):
        kept, other = (1, 3, 4)[number % 3], (3, 4, 1)[number % 3]
        said = (
            ("shortlist", "none", "a", kept, None),
            ("shortlist", "none", "b", other, None),
            ("refine", "keep", f'it says "{TOOLS[number % 3]}"', kept, None),
            ("refine", "drop", "not that", kept, other),
        )
        trace, _ = make_trace(said, (kept,), f"t{number}", f"d{number}")
        document = f"{'plainly ' * (number % 5)}about {TOOLS[number % 3]} number{number % 7}"
        made.append(annotate_compact(trace, document, FORM, first_of))
    return made


def material(settings: DecoderConfig = SETTINGS) -> Material:
    return prepare(texts(), TOKENS, settings)


def lessons(made: Material) -> Lessons:
    return Lessons(made.lessons(made.train), made.lessons(made.dev), int(made.tokenizer.get_vocab()["<pad>"]))


def decoder(made: Material, settings: DecoderConfig = SETTINGS) -> FactorisedDecoder:
    vectors = torch.randn(len(made.vocabulary.tokens), 16, generator=torch.Generator().manual_seed(1))
    return new_decoder(settings, vectors, 64)
