"""Label names as a dictionary: look a mention up, and find names in running text. Ambiguous names never link."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tasks.parsing.drafts import UNLINKED, Link

TOKEN = re.compile(r"[^\W_]+(?:\+\+|#)?")
ASCII_TOKEN = re.compile(r"[a-zA-Z0-9]+(?:\+\+|#)?")
"""The same in ASCII text, three times as fast."""

BRACKET_ID = re.compile(r"\[\s*(\d{1,9})\s*\]")
BARE_ID = re.compile(r"#?(\d{1,9})")
Span = tuple[int, int]
AMBIGUOUS = -1
NORMALISED_SCORE = 0.95
JOINERS = "-_.+@:"
"""Between two word characters these make one name: `vim` is not named in `vim-gtk`."""

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


def fold(text: str) -> str:
    """The text in one case and one Unicode form (NFKC)."""
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(1 << 14)
def normalise(text: str) -> str:
    """The words of a text, folded, with punctuation and spacing collapsed to single spaces; `c++` and `c#` keep their signs."""
    return " ".join(_token_of(text).findall(fold(text)))


def _token_of(text: str) -> re.Pattern[str]:
    return ASCII_TOKEN if text.isascii() else TOKEN


def words_of(text: str, start: int, end: int) -> tuple[list[Span], list[str]]:
    """The words of a region, folded, with their places."""
    spans = [match.span() for match in _token_of(text).finditer(text, start, end)]
    if text.isascii():
        return spans, ASCII_TOKEN.findall(text[start:end].lower())
    return spans, [fold(text[first:last]) for first, last in spans]


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
        self._widths = self._scan_widths()

    def __reduce__(self) -> tuple[type["Catalogue"], tuple[list[int], list[str], list[str]]]:
        """Sent to another process as its labels: building is as fast as unpickling, and a fifth of the bytes."""
        return Catalogue, (list(self._names), list(self._uids.values()), list(self._names.values()))

    def _claim_parts(self, head: str, tail: str, label_id: int) -> None:
        _claim(self._heads, head, label_id)
        _claim(self._tails, tail, label_id)
        _claim(self._turned, f"{tail} {head}" if tail and head else "", label_id)

    def _scan_widths(self) -> dict[str, tuple[int, ...]]:
        """How many words the names have that begin with a word (no more than it), or with two words."""
        widths: dict[str, set[int]] = {}
        for key in self._found:
            tokens = key.split()
            widths.setdefault(" ".join(tokens[:2]), set()).add(len(tokens))
            widths.setdefault(tokens[0], set())
        return {token: tuple(sorted(counts, reverse=True)) for token, counts in widths.items()}

    @property
    def keys(self) -> Mapping[str, int]:
        """Every unambiguous normalised name, identifier and head, with its label."""
        return self._found

    @property
    def names(self) -> Mapping[int, str]:
        """Every label's name."""
        return self._names

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

    def find_names(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Names in running text, longest first from the left: (start, end, label), never overlapping."""
        spans, words = words_of(text, start, end)
        after = 0
        for at, word in enumerate(words):
            alone = self._widths.get(word)
            if alone is None or at < after:
                continue
            longer = self._widths.get(f"{word} {words[at + 1]}", ()) if at + 1 < len(words) else ()
            found = self._name_at(text, spans, words, at, (*longer, *alone)) if longer or alone else None
            if found is not None:
                count, label_id = found
                after = at + count
                yield spans[at][0], self._whole_end(text, spans[at][0], spans[after - 1][1], label_id), label_id

    def _name_at(
        self, text: str, spans: Sequence[Span], words: Sequence[str], at: int, counts: Sequence[int]
    ) -> tuple[int, int] | None:
        """The longest name of so many words that begins with this word: how many it has, and its label."""
        for count in counts:
            label_id = self._found.get(" ".join(words[at : at + count]))
            if label_id is not None and at + count <= len(words) and _stands_alone(text, spans, at, at + count - 1):
                return count, label_id
        return None

    def _whole_end(self, text: str, start: int, end: int, label_id: int) -> int:
        """Where the name ends when its last characters are no words, such as a closing bracket."""
        name = self._names[label_id]
        return start + len(name) if start + len(name) > end and text.startswith(name, start) else end

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


def _stands_alone(text: str, spans: Sequence[Span], first: int, last: int) -> bool:
    """No joiner ties the name to a word before or after it."""
    if first > 0 and not text[spans[first - 1][1] : spans[first][0]].strip(JOINERS):
        return False
    return last + 1 >= len(spans) or bool(text[spans[last][1] : spans[last + 1][0]].strip(JOINERS))
