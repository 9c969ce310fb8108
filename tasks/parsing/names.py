"""Label names as a dictionary: look a mention up, and find names in running text. Ambiguous names never link."""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.name_starts import FirstWords, NameStarts, stands_alone
from tasks.parsing.words import fold, token_of, words_of
from tasks.sequences.compact import label_tokens

BRACKET_ID = re.compile(r"\[\s*(\d{1,9})\s*\]")
BARE_ID = re.compile(r"#?(\d{1,9})")
AMBIGUOUS = -1
NORMALISED_SCORE = 0.95
MOST_REMEMBERED, LONGEST_REMEMBERED = 1 << 14, 300
"""Texts whose links are remembered, and their characters: some 5 MB. A label is named about ten times a trace."""

WRAPPING = re.compile(
    r"^(?:(?:an?|the|maybe|perhaps|possibly|probably|likely)\s+)+"
    r"|(?:[,;]?\s+(?:(?:package|tool|label|tag|category|topic|class|entry|item)s?|(?:current|latest|any)\s+version"
    r"|[(\[](?:recommended|optional|maybe|likely|possibly|preferred|main|primary|secondary)[)\]]))+$",
    re.IGNORECASE,
)
"""Words around a name that are no part of it: taken off where the rest is a name."""

COMMON = frozenset(
    re.findall(
        r"\w+",
        """a about above across after again against all almost along already also although always am an and another any anyway
        are around as at away back be because been before being below best better between both but by can case clearly close
        closer come could did do does done down each either else enough even ever every exactly few find first fit fits for from
        full get give given go going good had has have having he hence her here his how however i if in indeed instead into is
        it its itself just keep kept last least left less let like likely list little long look looks lot made main make makes
        many may maybe me mean means might more most much must my near need needs never new next no none nor not note nothing
        now of off often okay on once one only open or other others our out over own part perhaps pick place plain point put
        quite rather really relevant right same say says second see seems set several shall she should show similar simple
        since so some something still such take test than that the their them then there therefore these they thing things
        think this those though three through thus time to together too topic toward try two under unless until up upon us use
        used useful uses very wait want was way we well were what when where whether which while who whole why will with within
        without work would yes yet you your answer candidate document drop final label option step text""",
    )
)
"""Words of reasoning itself: a label of that name must be marked (quoted, listed) to count as named."""


@lru_cache(1 << 14)
def normalise(text: str) -> str:
    """The words of a text, folded, with punctuation and spacing collapsed to single spaces; `c++` and `c#` keep their signs."""
    return " ".join(token_of(text).findall(fold(text)))


def head_of(name: str) -> str | None:
    """The part of a name before `: `, or None."""
    head, colon, _ = name.partition(": ")
    return head if colon and head else None


class NameParts(NamedTuple):
    """A name's normalised words before and after `: ` (without one it is all head), and whether no other label shares them."""

    head: tuple[str, ...]
    tail: tuple[str, ...]
    has_own_head: bool
    has_own_tail: bool


def _claim(names: dict[str, int], key: str, label_id: int) -> None:
    if key:
        names[key] = label_id if names.get(key, label_id) == label_id else AMBIGUOUS


class Catalogue:
    """All labels by name: exact, normalised, by the parts before and after `: `, and by these in the other order."""

    def __init__(self, label_ids: Sequence[int], uids: Sequence[str], names: Sequence[str]) -> None:
        """Build the dictionaries; about 14 microseconds a label."""
        self._names = dict(zip(label_ids, names, strict=True))
        self._uids = dict(zip(label_ids, uids, strict=True))
        self._exact: dict[str, int] = {}
        self._normal: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._tails: dict[str, int] = {}
        self._turned: dict[str, int] = {}
        uses: Counter[str] = Counter()
        for label_id, uid, name in zip(label_ids, uids, names, strict=True):
            tokens = normalise(name)
            for text, key in ((name, tokens), (uid, normalise(uid))):
                _claim(self._exact, text.strip(), label_id)
                _claim(self._normal, key, label_id)
            head = head_of(name)
            if head is not None:
                self._claim_parts(normalise(head), normalise(name[len(head) :]), label_id)
            uses.update(set(tokens.split()))
        self._uses = uses
        self._many_uses = max(4, len(names) // 1000)
        self._found = {key: label_id for key, label_id in {**self._heads, **self._normal}.items() if label_id != AMBIGUOUS}
        self._first_words = FirstWords(self._found)
        self.lookup_plain = lru_cache(MOST_REMEMBERED)(self._lookup_plain)
        """The link of a text, and whether unmarked it names the label; texts it was asked before are remembered."""
        self._remembered = lru_cache(MOST_REMEMBERED)(self._lookup)

    def __reduce__(self) -> tuple[type["Catalogue"], tuple[list[int], list[str], list[str]]]:
        """Sent to another process as its labels: building is as fast as unpickling, and a fifth of the bytes."""
        return Catalogue, (list(self._names), list(self._uids.values()), list(self._names.values()))

    def _claim_parts(self, head: str, tail: str, label_id: int) -> None:
        _claim(self._heads, head, label_id)
        _claim(self._tails, tail, label_id)
        _claim(self._turned, f"{tail} {head}" if tail and head else "", label_id)

    @property
    def keys(self) -> Mapping[str, int]:
        """Every unambiguous normalised name, identifier and head, with its label."""
        return self._found

    @property
    def names(self) -> Mapping[int, str]:
        """Every label's name."""
        return self._names

    @cached_property
    def by_token(self) -> Mapping[str, int]:
        """The label of each token that decoders of compact texts write; made at its first use."""
        return {token: label_id for label_id, token in label_tokens(self._uids).items()}

    def rarity(self, word: str) -> float:
        """Weight of a word: the logarithm of labels over the labels that use it, above 0."""
        return math.log(1 + len(self._names) / (1 + self._uses[word]))

    def is_word(self, word: str) -> bool:
        """True if some label uses the word."""
        return word in self._uses

    def parts_of(self, label_id: int) -> NameParts:
        """The words of a label's name before and after `: `."""
        name = self._names[label_id]
        head = head_of(name)
        head_key, tail_key = normalise(name if head is None else head), "" if head is None else normalise(name[len(head) :])
        return NameParts(
            tuple(head_key.split()),
            tuple(tail_key.split()),
            self._heads.get(head_key, self._normal.get(head_key)) == label_id,
            self._tails.get(tail_key) == label_id,
        )

    def has_tail(self, label_id: int | None) -> bool:
        """True if the label's name goes on after `: `."""
        return label_id is not None and head_of(self._names[label_id]) is not None

    def identity(self, text: str, link: Link | None) -> "int | str":
        """What a mention is about: its label; for an unknown text its words, before `: ` if these name no label themselves."""
        if link is not None and link.label_id is not None:
            return link.label_id
        head = head_of(text)
        return normalise(text if head is None or self.lookup(head) is not None else head)

    def lookup(self, text: str, takes_ids: bool = False) -> Link | None:
        """Link a mention by id, exact name or normalised name.

        Args:
            text: the mention.
            takes_ids: the teacher was shown label numbers, so `[12]` and `12` are labels.

        Returns:
            The link; `UNLINKED` when the name is ambiguous or the number no label's, so that no later rung guesses; None
            when the name is unknown.
        """
        found = None if takes_ids else self._exact.get(text)
        if found is not None:
            return _link(found, "exact", 1.0)
        return self._remembered(text, takes_ids) if len(text) <= LONGEST_REMEMBERED else self._lookup(text, takes_ids)

    def _lookup(self, text: str, takes_ids: bool) -> Link | None:
        text = text.strip()
        by_id = self.lookup_id(text) if takes_ids else None
        if by_id is not None:
            return by_id
        found = self._exact.get(text)
        if found is not None:
            return _link(found, "exact", 1.0)
        if takes_ids and (number := BRACKET_ID.match(text) or BARE_ID.fullmatch(text)):
            rest = text[number.end() :]
            return self.lookup(rest) if rest.strip() else UNLINKED
        key = normalise(text)
        found = self._normal.get(key)
        if found is None:
            found = self._heads.get(key)
        if found is not None:
            return _link(found, "normalised", NORMALISED_SCORE)
        return self._lookup_cut_name(text)

    def lookup_loosely(self, text: str) -> Link | None:
        """Link what `lookup` does not know, but is a known name in other words.

        These are the part after `: ` alone, the two parts in the other order (`editor (vim)`), and a name in wrapping words
        (`the vim package`).

        Returns:
            As `lookup`.
        """
        key = normalise(text)
        found = self._tails.get(key)
        if found is None:
            found = self._turned.get(key)
        if found is not None:
            return _link(found, "normalised", NORMALISED_SCORE)
        bare = WRAPPING.sub("", text.strip())
        link = self.lookup(bare) if normalise(bare) not in ("", key) else None
        return link and _link(AMBIGUOUS if link.label_id is None else link.label_id, "normalised", NORMALISED_SCORE)

    def lookup_id(self, text: str) -> Link | None:
        """Link `[12]`, `[12] name` or `12` by label number; None if there is no such number."""
        match = BRACKET_ID.match(text) or BARE_ID.fullmatch(text)
        if match is None or int(match[1]) not in self._names:
            return None
        return Link(int(match[1]), "id", 1.0)

    def _lookup_cut_name(self, text: str) -> Link | None:
        """`vim: Vi IMproved` for `vim: Vi IMproved - enhanced vi editor`: same head, and half of its other words by rarity."""
        head = head_of(text)
        found = self._heads.get(normalise(head), AMBIGUOUS) if head else AMBIGUOUS
        if head is None or found == AMBIGUOUS:
            return None
        weights = {word: self.rarity(word) for word in normalise(text[len(head) :]).split()}
        shared = weights.keys() & set(normalise(self._names[found]).split())
        is_same = weights and 2 * sum(weights[word] for word in shared) >= sum(weights.values())
        return _link(found, "normalised", NORMALISED_SCORE) if is_same else None

    def name_starts(self, text: str, start: int, end: int) -> NameStarts:
        """Where in a region names may begin."""
        return self._first_words.starts(words_of(text, start, end))

    def find_names(self, text: str, start: int, end: int, starts: NameStarts | None = None) -> Iterator[tuple[int, int, int]]:
        """Names in running text, longest first from the left: (start, end, label), never overlapping.

        Args:
            text: the text.
            start: first character of the region that is searched.
            end: the character after it.
            starts: where names may begin in more than this region; without it they are sought.
        """
        reach = starts and starts.words.within(start, end)
        if starts is None or reach is None:
            starts = self.name_starts(text, start, end)
            reach = 0, len(starts.words.starts)
        words, places, counts = starts
        after, last = reach
        for at in range(bisect_left(places, after), bisect_left(places, last)):
            first = places[at]
            for count in counts[at] if first >= after else ():  # the longest name first
                label_id, until = self._found.get(" ".join(words.folded[first : first + count])), first + count
                if label_id is not None and until <= last and stands_alone(text, words, first, until, reach):
                    after, begins, ends = until, words.starts[first], words.ends[until - 1]
                    name = self._names[label_id]
                    whole = begins + len(name)  # of a name whose last characters are no words, such as a closing bracket
                    yield begins, whole if whole > ends and text.startswith(name, begins) else ends, label_id
                    break

    def _lookup_plain(self, text: str, label_id: int) -> tuple[Link | None, bool]:
        return self._lookup(text, takes_ids=False), self.is_plain_name(text, label_id)

    def is_plain_name(self, text: str, label_id: int) -> bool:
        """True if unmarked text names the label: spelled as the catalogue spells it, and not an everyday word.

        A single word counts as everyday when many other labels use it, or when it is a word of reasoning itself.
        """
        name = self._names[label_id]
        if text not in (name, self._uids[label_id], head_of(name)):
            return False
        tokens = normalise(text).split()
        if len(tokens) > 1:
            return True
        if len(text) < 3 or text.isdigit() or tokens[0] in COMMON:
            return False
        return not tokens[0].isalpha() or self._uses[tokens[0]] <= self._many_uses


@lru_cache(1 << 14)
def _link(label_id: int, method: str, score: float) -> Link:
    return UNLINKED if label_id == AMBIGUOUS else Link(label_id, method, score)
