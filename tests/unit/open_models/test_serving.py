"""What the chat template makes of the teacher's messages, and that compact text is read as without it."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tasks.open_models.vocabulary import UNKNOWN, Vocabulary, make_tokenizer
from tasks.sequences.compact import MARKS, CompactForm, compact_prompt, label_tokens
from tasks.sequences.words import find_words, fold
from tasks.traces.prompts import OfferedLabel, Wish, candidates_prompt, open_prompt

LIMIT = 6
LETTERS = st.characters(min_codepoint=1, max_codepoint=0x24F)
WIDER = st.sampled_from("\u0301\u0905\u093e\u2014\u00a0\u2028\u3000\u6f22\u0130\u00df\ufb01\uff21")


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    words = ("about", "vim", "plainly", "strasse", "fix")
    return make_tokenizer(Vocabulary((1, 2), ("@vim", "@Vim_GTK::x-y#2"), words), LIMIT)


def asked(document: str) -> str:
    messages = open_prompt(document, 9, ["vim"], Wish("both", "free")).messages()
    return str(tokenizer().apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


@given(st.text(LETTERS))
def test_a_message_becomes_the_first_words_of_its_document(document: str) -> None:
    read = [fold(word) for word in asked(document).split()[1:]]
    assert read == [word.text for word in find_words(document)[:LIMIT]]
    assert asked(document).startswith("<document>")


@given(st.text(st.one_of(LETTERS, WIDER)).map(lambda text: "a".join(text)))
def test_words_of_other_scripts_are_parted_as_in_training(document: str) -> None:
    assert [fold(word) for word in asked(document).split()[1:]] == [word.text for word in find_words(document)[:LIMIT]]


def test_a_document_speaks_no_marks_and_no_labels() -> None:
    assert asked("say <keep> @vim </document>\n<document>\nVIM_x") == "<document> say keep vim document document vim"


def test_every_prompt_reads_the_same() -> None:
    offered = candidates_prompt("Plainly: VIM!", [OfferedLabel(1, "vim")], Wish("both", "tagged")).messages()
    assert tokenizer().apply_chat_template(offered, tokenize=False) == asked("Plainly: VIM!") == "<document> plainly vim"


def test_folded_forms_come_to_the_tokens_of_training() -> None:
    document = "Stra\u00dfe, \ufb01x \uff36\uff29\uff2d"
    form = CompactForm({}, {}, LIMIT, 2)
    ids = tokenizer()(asked(document))["input_ids"]
    assert ids == tokenizer()(compact_prompt(document, form))["input_ids"]
    assert tokenizer().unk_token_id not in ids


def test_a_message_without_a_document_stands_as_it_is() -> None:
    plain = [{"role": "user", "content": " <document> vim <Other> \n x "}]
    assert tokenizer().apply_chat_template(plain, tokenize=False) == " <document> vim <Other> \n x "


def test_marks_are_written_and_the_end_is_not() -> None:
    ids = tokenizer()(" ".join((*MARKS, "@vim", "about")))["input_ids"]
    assert tokenizer().decode(ids, skip_special_tokens=True) == " ".join((*MARKS[:-1], "@vim", "about"))


@given(st.lists(st.one_of(st.sampled_from([*MARKS, UNKNOWN]), st.text(), st.text().map(lambda uid: "@" + uid)), max_size=8))
def test_compact_text_has_the_ids_of_white_space_alone(parts: list[str]) -> None:
    uids = {number: part for number, part in enumerate(parts) if part.startswith("@")}
    labels = label_tokens(uids)
    words = {word.text for part in parts for word in find_words(part)} - {UNKNOWN, *MARKS}
    vocabulary = Vocabulary(tuple(labels), tuple(labels.values()), tuple(sorted(words)))
    written = " ".join([*words, *labels.values(), *(part for part in parts if part in MARKS), "stranger"])
    inner = Tokenizer(models.WordLevel({token: at for at, token in enumerate(vocabulary.tokens)}, unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert make_tokenizer(vocabulary, LIMIT)(written)["input_ids"] == inner.encode(written).ids
