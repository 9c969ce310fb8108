"""Label names that look like anything but names, and answers composed of what answers are made of."""

import json

from hypothesis import strategies as st

from tasks.parsing.names import Catalogue
from tests.unit.parsing.catalogue import LABELS

NASTY_NAMES = (
    "edit", "editor", "editor: small", "editor: small, fast", "editor: small, fast and old", "editor, small",  # prefixes
    "3", "42", "007", "1.5", "1e9", "[3]", "100%",  # digits
    'say "hi"', "it's", "'quoted'", "`code`", "“curly”", "back\\slash", "line\nbreak", "tab\tbed", "cr\r\nlf",
    "<answer>", "</step>", "<think>", "<b>bold</b>", '{"answer": ["vim"]}', '"}], "answer": [', "null", "true", "[]", "{}",
    "**bold**", "- bullet", "1. first", "# head", "| cell |", "|---|", "a: b: c", ":", "...", "*", "_", "-",
    "and", "keep", "drop vim", "vim and nano", "Answer", "Final answer: vim", "none", "too broad", "I keep it.",
    "Café", "Cafe\u0301", "İstanbul", "ﬃ", "שלום: עולם", "\u202evim\u202c", "ze\u200bro", "\ufeffbom",
    "日本語、タグ", "👩\u200d💻: 🦀", "nul\x00l",
    "x" * 400, "very long name " * 40,
)  # fmt: skip
NAMES = (*(name for _, name in LABELS), *(uid for uid, _ in LABELS), *NASTY_NAMES)

SURROGATES = ("\ud800", "\udfff", "\ude00\ud83d")
SIGNS = (
    "\x00", "\x1b[31m", "\u200b", "\u200d", "\u2060", "\ufeff", "\u202e", "\u2066", "\u0301", "\u0301" * 30, "\u2028", "\u0085",
    "\U0001f600", "\U000e0041", "\U0010ffff", "İ", "ß", "ŉ", "﷽", "①", "。", "：", "\r\n", "\r", "\v", "\f",
)  # fmt: skip
TAGS = (
    "<think>", "</think>", "<shortlist>", "</shortlist>", "<reasoning>", "</reasoning>", "<step>", "</step>", "<answer>",
    "</answer>", "<ANSWER >", "</ answer>", "<answer/>", "<answer", "<", ">", "```json\n", "```", "~~~",
)  # fmt: skip
JSON_PARTS = (
    "{", "}", "[", "]", '"', ",", ":", "\\", '\\"', "\\n", "\\u00e9", "\\ud800", "\\ud83d\\ude00", "\\u0000", "\\x", "null",
    "true", "1e999", "-0", "0.5", '"answer": ', '"shortlist": ', '"steps": ', '"label": ', '"id": ', '"verdict": "keep"',
    '"confidence": 0.9', "{}", "[]",
)  # fmt: skip
MARKS = (
    " ", "\n", "\n\n", "- ", "* ", "1. ", "12) ", "[3] ", "[x] ", "• ", "| ", " | ", "|---|---|\n", "# ", "## Result\n", "**",
    '"',     "“", "”", "'", "`", "(", ")", ", ", "; ", ": ", " - ", " -> ", ". ", "? ", "! ", "...",
)  # fmt: skip
WORDS = (
    "I keep ", "Drop ", " fits", " is too broad", " rather than ", " and ", " or ", " but ", "so is ", "the latter ",
    "the former ", "no, ", "yes. ", "Candidates: ", "Let me check ", "Final answer: ", "The labels are ", "The text says ",
    "not ", "it ", "none", "I'm sorry, but I can't", " superseded by ", "n/a", "✓", "e.g. ",
)  # fmt: skip

LINES = st.text(st.characters(codec="utf-8"), max_size=6)
PIECES = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(WORDS),
    st.sampled_from(MARKS),
    st.sampled_from((*TAGS, *JSON_PARTS)),
    st.sampled_from((*SIGNS, *SURROGATES)),
    LINES,
)
LOOSE = st.lists(PIECES, max_size=30).map("".join)
"""Pieces of every grammar in any order."""

LABEL_LISTS = st.lists(st.sampled_from(NAMES), max_size=5)
VERDICTS = st.sampled_from(("keep", "drop", "compare", "Rejected", "yes", "", "\ud800"))
SCORES = st.sampled_from((None, 0.9, 90, -1, 1e308, "90%", "high", float("nan"), True))
STEPS = st.lists(st.fixed_dictionaries({"label": st.sampled_from(NAMES), "verdict": VERDICTS, "reason": LOOSE}), max_size=3)


def _json(parts: tuple[list[str], list[dict[str, str]], list[str], float | str | None, bool]) -> str:
    listed, steps, kept, score, is_ascii = parts
    answer = [{"label": name, "confidence": score} for name in kept]
    return json.dumps({"shortlist": listed, "steps": steps, "answer": answer}, ensure_ascii=is_ascii)


def _tagged(parts: tuple[list[str], list[str], list[str]]) -> str:
    listed, steps, kept = ("\n".join(part) for part in parts)
    return f"<shortlist>\n{listed}\n</shortlist>\n<reasoning>\n{steps}\n</reasoning>\n<answer>\n{kept}\n</answer>"


def _prose(parts: tuple[list[str], list[str], list[str], str]) -> str:
    listed, steps, kept, bullet = parts
    final = "\n".join(bullet + name for name in kept)
    return f"Candidates: {', '.join(listed)}.\n\n{' '.join(steps)}\n\nFinal answer:\n{final}"


SENTENCES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(WORDS), st.sampled_from((*MARKS, *SIGNS))).map("".join), max_size=4
)
WHOLE = st.one_of(
    st.tuples(LABEL_LISTS, STEPS, LABEL_LISTS, SCORES, st.booleans()).map(_json),
    st.tuples(LABEL_LISTS, SENTENCES, LABEL_LISTS).map(_tagged),
    st.tuples(LABEL_LISTS, SENTENCES, LABEL_LISTS, st.sampled_from(MARKS)).map(_prose),
)
"""Whole answers about nasty labels in each form."""


@st.composite
def cut_and_mixed(draw: st.DrawFn) -> str:
    """A whole answer, cut anywhere, with something else put into it anywhere."""
    text, other = draw(WHOLE), draw(st.one_of(LOOSE, WHOLE))
    at, end = draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))
    return text[:at] + other + text[at : max(at, end)]


TEXTS = st.one_of(LOOSE, WHOLE, cut_and_mixed())


def nasty_catalogue() -> Catalogue:
    """The small catalogue and every nasty name."""
    names = [name for _, name in LABELS] + list(NASTY_NAMES)
    uids = [uid for uid, _ in LABELS] + [f"nasty{place}" for place in range(len(NASTY_NAMES))]
    return Catalogue(range(len(names)), uids, names)
