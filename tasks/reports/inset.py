"""Attention insets: one document's tokens, shaded by the attention that one head pays them, anchors underlined."""

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tasks.reports.cells import Cell, Grid, percent_text
from tasks.reports.head_map import head_name

SHADES = 5
"""Shades of attention; each begins at twice the attention of the one before, the darkest at half of the most."""
TOP_COUNT = 10
PHASES = {"shortlist": "shortlisting (phase 1)", "refine": "refining (phase 2)"}
SHOWN = {"shortlist": "document", "refine": "document and the shortlist"}
GAP = "\n"
"""Stands before a token where tokens between it and the one before are not shown."""
SPACE_MARKS = ("▁", "Ġ")
"""Written by tokenizers (SentencePiece, byte-level BPE) for the space before a word."""
LINE_MARK = "Ċ"
CONTINUED = "##"
"""Written by WordPiece before a token that continues a word."""
SPACED = 10
JOINERS = "\u200c\u200d"
"""Invisible characters that letters of some scripts and emoji need."""
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that show nothing, or turn the text around them."""


@dataclass(frozen=True)
class ShadedToken:
    """One token: the white space before it, its text, its shade from 0 (least) to 5, and its attention in percent."""

    space: str
    text: str
    shade: int
    is_anchor: bool
    percent: str


@dataclass(frozen=True)
class Inset:
    """One head over one document, with what the shades mean and a table of the tokens that get most."""

    slug: str
    title: str
    sentence: str
    tokens: tuple[ShadedToken, ...]
    legend: tuple[tuple[int, str], ...]
    data: Grid


def insets(rows: pl.DataFrame) -> tuple[Inset, ...]:
    """One inset a model, document, phase and head of `core_attention_insets`; the shortlisting head first."""
    keys = (
        rows.select("model", "document_id", "phase", "layer", "head").unique().sort("phase", descending=True, maintain_order=True)
    )
    ordered = sorted(keys.rows(), key=lambda key: (list(PHASES).index(key[2]), key))
    return tuple(_inset(f"inset-{n}", key, _rows_of(rows, key)) for n, key in enumerate(ordered))


def _rows_of(rows: pl.DataFrame, key: tuple[str | int, ...]) -> pl.DataFrame:
    columns = ("model", "document_id", "phase", "layer", "head")
    return rows.filter(pl.all_horizontal(pl.col(c) == v for c, v in zip(columns, key, strict=True))).sort("token_index")


def _inset(slug: str, key: tuple[str | int, ...], rows: pl.DataFrame) -> Inset:
    _, document_id, phase, layer, head = key
    peak = max(rows["attention_frac"])
    spaced = spaced_texts(rows["token_text"].to_list())
    is_after_gap = (rows["token_index"].diff() > 1).fill_null(False)
    values = rows.select("attention_frac", "is_anchor").rows()
    tokens = tuple(
        ShadedToken(GAP if has_gap else space, text, shade_of(frac, peak), is_anchor, percent_text(frac))
        for (space, text), (frac, is_anchor), has_gap in zip(spaced, values, is_after_gap, strict=True)
    )
    title = f"{head_name(int(layer), int(head))} while {PHASES[str(phase)]}, document {document_id}"
    return Inset(slug, title, _sentence(str(phase), rows), tokens, _legend(tokens, peak), _grid(slug, rows, tokens))


def shade_of(frac: float, peak: float) -> int:
    """The shade of a share of attention: 5 from half of `peak`, 4 from its quarter, and so on; 0 below the last."""
    return sum(frac >= peak / 2**n for n in range(1, SHADES + 1)) if peak > 0 else 0


def spaced_texts(texts: Sequence[str]) -> list[tuple[str, str]]:
    """White space and visible text of each token.

    Tokens that carry no spaces of their own (fewer than a tenth of them do) are parted by spaces, unless they continue a word.
    """
    marked = [_unmarked(text) for text in texts]
    if SPACED * sum(text.startswith(" ") for text in marked) >= len(marked):
        return [_own_space(text) for text in marked]
    return [_given_space(text, is_first=i == 0) for i, text in enumerate(marked)]


def _own_space(text: str) -> tuple[str, str]:
    body = text.lstrip(" ")
    return (" " * (len(text) - len(body)), visible(body))


def _given_space(text: str, is_first: bool) -> tuple[str, str]:
    is_continued = text.startswith(CONTINUED) and text != CONTINUED
    return ("" if is_first or is_continued else " ", visible(text.removeprefix(CONTINUED) if is_continued else text))


def _unmarked(text: str) -> str:
    for mark in SPACE_MARKS:
        text = text.replace(mark, " ")
    return text.replace(LINE_MARK, "\n")


def visible(text: str) -> str:
    """The text with what cannot be seen written out: a line's end as ↵, characters that show nothing by their number.

    Characters that turn the direction of writing are among them, so that no token changes how another one stands.
    """
    if all(c == "\t" or unicodedata.category(c) == "Zs" for c in text):
        return "␣"
    has_letters = any(unicodedata.category(c)[0] in "LMNPS" for c in text)
    return "".join(_visible(c, has_letters) for c in text.replace("\r\n", "\n"))


def _visible(character: str, has_letters: bool) -> str:
    if character == "\n":
        return "↵\n"
    is_kept = character == "\t" or (character in JOINERS and has_letters)
    return f"[U+{ord(character):04X}]" if unicodedata.category(character) in INVISIBLE and not is_kept else character


def _sentence(phase: str, rows: pl.DataFrame) -> str:
    anchors = rows.filter("is_anchor")
    of_all, of_anchors = (percent_text(float(part["attention_frac"].sum())) for part in (rows, anchors))
    return (
        f"{len(rows):,} tokens of the {SHOWN[phase]} get {of_all}% of the head's attention; "
        f"{len(anchors):,} of them are anchors and get {of_anchors}%."
    )


def _legend(tokens: Sequence[ShadedToken], peak: float) -> tuple[tuple[int, str], ...]:
    edges = [percent_text(peak / 2**n) for n in range(SHADES, -1, -1)]  # peak / 32 ... peak
    texts = [f"below {edges[0]}%", *(f"{low} to {high}%" for low, high in itertools.pairwise(edges))]
    used = {token.shade for token in tokens}
    return tuple((shade, text) for shade, text in enumerate(texts) if shade in used)


def _grid(slug: str, rows: pl.DataFrame, tokens: Sequence[ShadedToken]) -> Grid:
    places = rows["attention_frac"].arg_sort(descending=True).head(TOP_COUNT).to_list()
    index = rows["token_index"].to_list()
    lines = tuple(
        (
            Cell(tokens[at].text.strip(), f"token {index[at]:,}"),
            Cell(tokens[at].percent),
            Cell("yes" if tokens[at].is_anchor else "no"),
        )
        for at in places
    )
    caption = f"The {len(lines)} tokens that get most attention"
    return Grid(f"{slug}-data", caption, ("token", "attention, percent", "anchor"), lines)
