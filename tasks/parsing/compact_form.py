"""Answers of a decoder student: `<shortlist> @a @b <refine> <drop> @b w w <keep> @a w <answer> @a <end>`, one token a label."""

import re
from collections.abc import Iterator, Sequence

from tasks.parsing.drafts import UNLINKED, Link, Mention, StepDraft, TraceDraft
from tasks.parsing.names import Catalogue
from tasks.sequences.compact import ANSWER, DOCUMENT, END, LABEL_MARK, REFINE, SHORTLIST, VERDICTS

TOKEN = re.compile(r"\S+")
OPENS = (f"{SHORTLIST} {LABEL_MARK}", f"{SHORTLIST} {REFINE}")
"""How an answer in this form begins; one in tags closes its sections, too."""

CLOSING = "</"
SECTIONS = (DOCUMENT, SHORTLIST, REFINE, ANSWER)
SOURCE = "completion_text"
Token = re.Match[str]


def is_compact(text: str, start: int, end: int) -> bool:
    """True for a region that is an answer of a decoder student."""
    return text.startswith(OPENS, start, end) and CLOSING not in text[start:end]


def read_compact_answer(text: str, start: int, end: int, catalogue: Catalogue) -> TraceDraft:
    """The draft of a compact answer; tokens where they cannot stand are passed over, and what follows `<end>` is not read."""
    tokens = list(_until_end(text, start, end))
    draft = TraceDraft("tagged")
    for mention in _labels(_section(tokens, SHORTLIST), catalogue):
        draft.shortlist.append((mention, len(draft.steps)))
        draft.steps.append(StepDraft(SOURCE, mention.start, mention.end, "shortlist", subject=mention))
    draft.steps += _judged(_section(tokens, REFINE), catalogue)
    answers = _section(tokens, ANSWER)
    draft.answers = list(_labels(answers, catalogue))
    draft.answers_none = not answers and any(token[0] == ANSWER for token in tokens)
    draft.steps += [StepDraft(SOURCE, m.start, m.end, "answer", subject=m) for m in draft.answers]
    return draft


def _until_end(text: str, start: int, end: int) -> Iterator[Token]:
    for token in TOKEN.finditer(text, start, end):
        if token[0] == END:
            return
        yield token


def _section(tokens: Sequence[Token], mark: str) -> Sequence[Token]:
    """The tokens after the first such mark up to the next section; none if it is missing."""
    first = next((at for at, token in enumerate(tokens) if token[0] == mark), len(tokens)) + 1
    last = next((at for at in range(first, len(tokens)) if tokens[at][0] in SECTIONS), len(tokens))
    return tokens[first:last]


def _labels(tokens: Sequence[Token], catalogue: Catalogue) -> Iterator[Mention]:
    return (_mention(token, catalogue) for token in tokens if _is_label(token))


def _is_label(token: Token) -> bool:
    return len(token[0]) > 1 and token[0].startswith(LABEL_MARK)


def _mention(token: Token, catalogue: Catalogue) -> Mention:
    """A label token; one of no label stays unlinked, for a token is no spelling that could be close to a name."""
    label = catalogue.by_token.get(token[0])
    link = UNLINKED if label is None else Link(label, "exact", 1.0)
    return Mention(token[0], SOURCE, *token.span(), link)


def _judged(tokens: Sequence[Token], catalogue: Catalogue) -> Iterator[StepDraft]:
    """Each verdict that a label follows, with the words up to the next verdict."""
    verdicts = {token: verdict for verdict, token in VERDICTS.items()}
    starts = [at for at, token in enumerate(tokens) if token[0] in verdicts]
    for start, stop in zip(starts, [*starts, len(tokens)][1:], strict=True):
        if start + 1 < stop and _is_label(tokens[start + 1]):
            subject = _mention(tokens[start + 1], catalogue)
            first, last = tokens[start], tokens[stop - 1]
            yield StepDraft(SOURCE, first.start(), last.end(), "refine", verdicts[first[0]], subject)
