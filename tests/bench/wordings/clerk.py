"""Terse working papers: headings, numbered lines, tables of `label - fits`, verdicts of one word, no first person.

`{a}` is the label a line is about, `{r}` the kept one it is compared with, `{w}` words of the document.
"""

import random
from collections.abc import Iterator, Sequence

from tasks.traces.stand_in.thinking import Thought
from tests.bench.wordings.naming import Names, words_of
from tests.bench.wordings.said import Said, Verdict

HEADS = ("## {}\n", "### {}\n\n", "**{}**\n\n", "{}:\n", "**{}:**\n", "# {}\n\n", "{number}. {}\n\n", "Step {number}: {}\n\n")
SCOPES = (
    "Document: {t}.\n\n",
    "Subject: {t}.\n\n",
    "Topic - {t}.\n\n",
    "Text: {t}. Task: assign labels.\n\n",
    "Input: description of {t}.\n\n",
    "Theme: {t}. Domain terms noted.\n\n",
    "Summary: {t}.\n\n",
    "{t}: labels to be assigned.\n\n",
)
LONGLISTS = (
    "Longlist",
    "Candidate labels",
    "Potential matches",
    "Initial candidates",
    "Related items",
    "Labels under consideration",
    "Brainstorm",
    "Pool",
)
SCREENINGS = (
    "Screening",
    "Assessment",
    "Evaluation of each",
    "Relevance check",
    "Review",
    "Verification",
    "Analysis",
    "Decision per label",
)
RESULTS = (
    "Result",
    "Final selection",
    "Selected labels",
    "Outcome",
    "Output",
    "Final labels",
    "Answer",
    "Conclusion",
)
KEEPS = (
    "fits",
    "yes",
    "relevant ({w})",
    "in",
    "applies, {w}",
    "match: {w}",
    "include",
    "direct match for {w}",
    "supported by {w}",
    "accepted",
    "pass",
    "OK, {w} stated in text",
    "✓ {w}",
    "strong match",
    "highly relevant; {w}",
)
DROPS = (
    "does not fit",
    "no",
    "not relevant",
    "out",
    "n/a",
    "no match",
    "exclude",
    "not supported by text",
    "unrelated to {w}",
    "rejected",
    "fail",
    "too broad",
    "✗ only {w}",
    "weak, not mentioned",
    "irrelevant; text covers {w}",
    "does not apply",
)
COMPARISONS = (
    "no, covered by {r}",
    "duplicate of {r}",
    "{r} is more specific",
    "out, {r} preferred",
    "superseded by {r}",
    "not relevant; {w} refers to {r}",
    "weaker than {r}, exclude",
    "does not fit, see {r}",
    "redundant with {r}",
)
ROWS = (
    "{n}. {a} - {v}\n",
    "- {a}: {v}\n",
    "* {a} -> {v}\n",
    "{n}) {a} — {v}\n",
    "- **{a}**: {v}.\n",
    "{a} - {v}\n",
    "{a}: {v}\n",
    "{a} => {v}\n",
    "{n}. {a} ({v})\n",
)
TABLES = (
    ("| Label | Assessment |\n|---|---|\n", "| {a} | {v} |\n"),
    ("| # | Label | Verdict |\n| --- | --- | --- |\n", "| {n} | {a} | {v} |\n"),
)
ITEMS = ("{n}. {a}\n", "- {a}\n", "* {a}\n", "{n}) {a}\n", "{a}\n", "• {a}\n", "[{n}] {a}\n", "  - {a}\n")


def clerk(thought: Thought, title: str, draw: random.Random) -> list[Said]:
    """Scope, longlist, screening, result, each under its heading."""
    names = Names(thought, draw, whole_frac=0.5)
    head = draw.choice(HEADS)
    kept = [place for place, candidate in enumerate(thought.candidates) if candidate.is_kept]
    scope = Said(draw.choice(SCOPES).format(t=title.strip().rstrip(".") or "one item"), "shortlist")
    return [
        scope,
        Said(_headed(head, draw.choice(LONGLISTS), 1), "shortlist"),
        *_pool(names, len(thought.candidates), draw),
        Said(_headed(head, draw.choice(SCREENINGS), 2), "refine"),
        *_screened(thought, names, draw),
        Said(_headed(head, draw.choice(RESULTS), 3), "answer"),
        *_listed(names, kept, "answer", draw),
    ]


def _headed(head: str, words: str, number: int) -> str:
    return head.format(words, number=number)


def _pool(names: Names, count: int, draw: random.Random) -> list[Said]:
    if draw.random() < 0.8:
        return _listed(names, range(count), "shortlist", draw)
    joined = draw.choice(("; ", " / ", " | ")).join(names.bare(place) for place in range(count))
    return [Said(f"{joined}\n\n", "shortlist", names=tuple(range(count)))]


def _listed(names: Names, places: Sequence[int], phase: str, draw: random.Random) -> list[Said]:
    item = draw.choice(ITEMS)
    texts = [item.format(n=at, a=names.bare(place)) for at, place in enumerate(places, start=1)]
    ends = [""] * (len(texts) - 1) + ["\n"]
    return [
        Said(text + end, "answer" if phase == "answer" else "shortlist", names=(place,))
        for text, end, place in zip(texts, ends, places, strict=True)
    ]


def _screened(thought: Thought, names: Names, draw: random.Random) -> Iterator[Said]:
    top, row = draw.choice(TABLES) if draw.random() < 0.3 else ("", draw.choice(ROWS))
    if top:
        yield Said(top, "refine")
    last = len(thought.candidates) - 1
    for place, candidate in enumerate(thought.candidates):
        verdicts = KEEPS if candidate.is_kept else DROPS if candidate.rival is None else COMPARISONS
        rival = "" if candidate.rival is None else names[candidate.rival]
        words = draw.choice(verdicts).format(r=rival, w=words_of(candidate.words))
        text = row.format(n=place + 1, a=names.bare(place), v=words) + ("\n" if place == last else "")
        verdict: Verdict = "keep" if candidate.is_kept else "drop"
        named = (place,) if candidate.rival is None or rival not in words else (place, candidate.rival)
        yield Said(text, "refine", place, verdict, named)
