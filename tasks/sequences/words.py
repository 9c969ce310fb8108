"""Words of a text with their places: what counts as a word, as a content word, and where a row of words stands."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WORD = re.compile(
    r"[^\W_](?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u0670\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u200c\u200d])*"
)
"""Letters and digits with the marks that combine with them; everything else parts words, also hyphens."""

SHORTEST = 3

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """about above across after again against all almost along already also although always among and another any anyway apart
        are aren around away back because been before being below best better between both but can cannot clearly close closer
        come compare compared compares could couldn did didn does doesn doing don done down during each either else enough even
        ever every exactly few find first fit fits fitting for from further get give given goes going good had has hasn have
        haven having hence her here hers him his how however indeed instead into isn its itself just last least less let like
        likely list little long look looks lot many may maybe means meant might more most much must near need needs neither
        never next nor not nothing now off often okay once one only onto other others our ours out over own part perhaps quite
        rather really right same say says second see seem seemed seems several shall she should similar simply since some
        something still such than that the their theirs them then there therefore these they thing things think this those
        though through thus too toward try two under unless until upon use used useful uses using very want was way well were
        what when where whether which while who whole whom whose why will with within without would wouldn yes yet you your yours
        answer answers argue argues candidate candidates confidence consider decide decides description document documents drop
        dropped drops evidence final keep keeps kept label labels mention mentioned mentions none null option options point points
        possible reason reasons refine shortlist speak speaks step support supports text verdict word words""",
    )
)
"""Function words of English, and words of reasoning itself."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word as compared (NFKC, one case), and its characters in the text as written."""

    text: str
    start: int
    end: int


def fold(word: str) -> str:
    """A word in one case and one Unicode form (NFKC), without any white space that the form brings in."""
    if word.isascii():
        return word.lower()
    return "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold()).split())


def find_words(text: str) -> list[Word]:
    """The words of a text, in order."""
    return [Word(fold(found.group()), found.start(), found.end()) for found in WORD.finditer(text)]


def is_content(word: str) -> bool:
    """True for a folded word of at least 3 characters, with a letter, that is no stop word."""
    return len(word) >= SHORTEST and word not in STOP_WORDS and not word.isdigit()


def places_of(part: Sequence[str], words: Sequence[Word]) -> list[int]:
    """Where a row of folded words begins in `words`, from the left, without overlaps."""
    if not part:
        return []
    found, at = [], 0
    while at <= len(words) - len(part):
        if all(word.text == wanted for word, wanted in zip(words[at : at + len(part)], part, strict=True)):
            found.append(at)
            at += len(part)
        else:
            at += 1
    return found


def name_forms(name: str) -> list[list[str]]:
    """The rows of words that a label is named by, longest first: its whole name, and what stands before `:`, ` - ` or `(`."""
    short = re.split(r":\s| [-\u2013\u2014]+ |\(", name, maxsplit=1)[0]
    forms = [[word.text for word in find_words(form)] for form in (name, short)]
    return [form for place, form in enumerate(forms) if form and form not in forms[:place]]
