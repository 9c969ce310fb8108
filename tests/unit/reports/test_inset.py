import polars as pl
import pytest

from tasks.reports.inset import insets, shade_of, spaced_texts, visible
from tests.unit.reports.report_frames import ATTACK, ATTENTION_INSETS, HOSTILE_TOKENS


def test_insets_are_one_a_phase_the_shortlist_first() -> None:
    assert [inset.title for inset in insets(ATTENTION_INSETS)] == [
        "L0H0 while shortlisting (phase 1), document d1",
        "L1H0 while refining (phase 2), document d1",
    ]
    assert insets(ATTENTION_INSETS.clear()) == ()


def test_insets_shade_tokens_in_their_order_and_mark_anchors() -> None:
    shuffled = insets(ATTENTION_INSETS.sample(fraction=1.0, shuffle=True, seed=3))
    tokens = shuffled[0].tokens
    # attention 0.32, 0.16, 0.04, 0.02, 0.01, 0.005, 0.08; the shades begin at 0.16, 0.08, 0.04, 0.02, 0.01
    assert [token.shade for token in tokens] == [5, 5, 3, 2, 1, 0, 4]
    assert [token.is_anchor for token in tokens] == [False] * 6 + [True]
    assert [token.percent for token in tokens][:2] == ["32.0", "16.0"]


def test_insets_say_how_much_the_shown_tokens_and_the_anchors_get() -> None:
    shortlist, refine = insets(ATTENTION_INSETS)
    assert shortlist.sentence == (
        "7 tokens of the document get 63.5% of the head's attention; 1 of them are anchors and get 8.0%."
    )
    assert "of the document and the shortlist get" in refine.sentence


def test_insets_explain_the_shades_they_use() -> None:
    legend = insets(ATTENTION_INSETS.filter(pl.col("token_index") < 3))[0].legend
    assert legend == ((3, "4.0 to 8.0%"), (5, "16.0 to 32.0%"))


def test_insets_list_the_tokens_that_get_most() -> None:
    rows = insets(ATTENTION_INSETS)[0].data.rows
    assert [[cell.text for cell in row] for row in rows][:3] == [
        ["<document>", "32.0", "no"], [ATTACK, "16.0", "no"], ["heart", "8.0", "yes"],
    ]  # fmt: skip
    assert rows[2][0].detail == "token 6"


def test_insets_begin_a_line_where_tokens_are_not_shown() -> None:
    gap = ATTENTION_INSETS.filter(pl.col("token_index") != 3)
    assert [token.space for token in insets(gap)[0].tokens] == ["", " ", " ", "\n", " ", " "]


def test_insets_without_any_attention_have_no_shade() -> None:
    flat = insets(ATTENTION_INSETS.with_columns(attention_frac=0.0))[0]
    assert {token.shade for token in flat.tokens} == {0}


@pytest.mark.parametrize(("frac", "shade"), [(0.8, 5), (0.4, 5), (0.39, 4), (0.2, 4), (0.025, 1), (0.024, 0), (0.0, 0)])
def test_shade_of_doubles_from_shade_to_shade(frac: float, shade: int) -> None:
    assert shade_of(frac, 0.8) == shade


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        pytest.param(("heart", "failure"), "heart failure", id="words"),
        pytest.param(("a", " heart", "ache"), "a heartache", id="own spaces"),
        pytest.param(("▁heart", "▁fail", "ure"), " heart failure", id="SentencePiece"),
        pytest.param(("Ġheart", "ache", "Ċ", "Ġx"), " heartache↵\n x", id="byte-level BPE"),
        pytest.param(("heart", "##ache", "##", "x"), "heartache ## x", id="WordPiece"),
        pytest.param(("a", " ", "b"), "a ␣b", id="a space alone"),
        pytest.param((), "", id="nothing"),
    ],
)
def test_spaced_texts_put_white_space_where_the_tokens_have_it(texts: tuple[str, ...], shown: str) -> None:
    assert "".join(space + text for space, text in spaced_texts(texts)) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("heart", "heart"),
        ("\n", "↵\n"),
        ("x\r\ny", "x↵\ny"),
        ("", "␣"),
        ("\u00a0", "␣"),
        ("\u200b", "[U+200B]"),
        ("a\u202eb", "a[U+202E]b"),
        ("\x00", "[U+0000]"),
        ("\u2028", "[U+2028]"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("\u200d", "[U+200D]"),
        ("\ud800", "[U+D800]"),
    ],
)
def test_visible_writes_out_what_cannot_be_seen_or_turns_the_text(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_insets_keep_hostile_tokens_as_text() -> None:
    texts = [token.text for token in insets(ATTENTION_INSETS)[0].tokens]
    assert texts == ["<document>", ATTACK, "\u05d0\u05d1", "[U+200B]", "a[U+202E]b", "x↵\n", "heart"]
    assert len(texts) == len(HOSTILE_TOKENS)
