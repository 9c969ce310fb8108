"""Labels named in a sentence: marked ones (quoted, bold, listed, by number) and names of the catalogue in plain text.

A marked text counts on its own. A plain name counts when it is spelled as in the catalogue and is no everyday word, or
when the trace names the same label elsewhere beyond doubt. A quotation of the document counts only in the second case.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tasks.parsing.cues import DOCUMENT_CUE, EVIDENCE_BEFORE, SHORTLIST_CUE, cue_text, lowered
from tasks.parsing.drafts import Link, Mention
from tasks.parsing.items import LONGEST_NAME, Item, item_mention, looks_like_sentence, separated
from tasks.parsing.names import BRACKET_ID, Catalogue, normalise
from tasks.parsing.sentences import MARKED, Sentence
from tasks.parsing.spans import Taken
from tasks.parsing.words import Words, words_of

Identity = int | str
"""What a mention is about: a label number, or the normalised text (its head, if it has one) when unknown."""

ENUMERATION_GAP = re.compile(r"[\"”’'»`*_)\]]*\s*(?:\([^)]*\)\s*)?(?:[,;]|and|or)[,;\s]*(?:and\s+|or\s+)?[\"“‘'«`*_(\[]*")
HEAD_MARK = re.compile(r"[\"”’`*_]*(?::\s|\s+[-–—→]+>?\s)")
PIECE_WORDS = 4
"""An unknown piece of an enumeration of more words is no label."""

_SIDE_BY_SIDE = re.compile(r"[\s:\"“‘'`*-]*")
COLON = re.compile(r"[:：]\s+|[:：]$")


class Named(NamedTuple):
    """A mention in a sentence: `is_sure` unless the rest of the trace must confirm it."""

    mention: Mention
    identity: Identity
    is_sure: bool


class MentionFinder:
    """Finds mentions in one raw text; `low` is that text lowered."""

    def __init__(
        self, text: str, source: str, catalogue: Catalogue, takes_ids: bool, region: tuple[int, int] | None = None
    ) -> None:
        """Take the text and the name of its column.

        Args:
            text: a raw text.
            source: its column.
            catalogue: the labels by name.
            takes_ids: the teacher was shown label numbers.
            region: characters that hold all sentences to come, if not the whole text does.
        """
        self.text = text
        self.low = lowered(text)
        self._starts = catalogue.name_starts(text, *(region or (0, len(text))))
        self.cues = cue_text(self.low, self._starts.words)
        self.source = source
        self.catalogue = catalogue
        self.takes_ids = takes_ids

    def find(self, sentence: Sentence) -> list[Named]:
        """All mentions of a sentence, sure and unsure, by place; of those that overlap the longest."""
        whole = self._listed_item(sentence) if sentence.is_listed else None
        if whole:
            return [whole]
        plain = self._plain(sentence)
        colon = COLON.search(self.text, sentence.start, sentence.end)
        listed = self._enumerated(sentence, colon, plain) if colon else ()
        marked = [*self._marked(sentence), *self._numbered(sentence), *listed]
        if not marked:
            return self._merged(plain)
        found = longest([*marked, *plain], sentence)
        found.sort(key=lambda named: named.mention.start)
        return self._merged(found)

    def _merged(self, found: list[Named]) -> list[Named]:
        """A number and the name beside it as one mention: `[12] vim`."""
        if len(found) < 2:
            return found
        rows: list[list[Named]] = []
        for named in found:
            before = rows[-1][-1] if rows else None
            if (
                before
                and before.identity == named.identity
                and _SIDE_BY_SIDE.fullmatch(self.text, before.mention.end, named.mention.start)
            ):
                rows[-1].append(named)
            else:
                rows.append([named])
        return [row[0] if len(row) == 1 else self._joined(row) for row in rows]

    def _joined(self, row: Sequence[Named]) -> Named:
        first, last = row[0].mention, row[-1].mention
        return self.named(first.start, last.end, first.link, any(named.is_sure for named in row))

    def is_whole(self, sentence: Sentence, named: Sequence[Named]) -> bool:
        """True if a sentence is one mention and nothing else but punctuation."""
        if len(named) != 1:
            return False
        around = self.text[sentence.start : named[0].mention.start] + self.text[named[0].mention.end : sentence.end]
        return not any(char.isalnum() for char in around)

    def named(self, start: int, end: int, link: Link | None, is_sure: bool) -> Named:
        """The mention at a span."""
        text = self.text[start:end]
        return Named(Mention(text, self.source, start, end, link), self.catalogue.identity(text, link), is_sure)

    def words_within(self, start: int, end: int) -> tuple[Words, int, int]:
        """Words that hold those of a region; the first of the region's and the one after its last."""
        words = self._starts.words
        reach = words.within(start, end)
        if reach is None:
            words = words_of(self.text, start, end)
            reach = 0, len(words.starts)
        return words, *reach

    def _listed_item(self, sentence: Sentence) -> Named | None:
        item = Item(sentence.start, sentence.end, sentence.is_item)
        mention = item_mention(self.text, self.source, item, self.catalogue, self.takes_ids)
        return Named(mention, self.catalogue.identity(mention.text, mention.link), True) if mention else None

    def _marked(self, sentence: Sentence) -> Iterator[Named]:
        quoted_until = -1
        matches = list(MARKED.finditer(self.text, sentence.start, sentence.end))
        lists_candidates = bool(matches) and self.cues.search(SHORTLIST_CUE, sentence.start, sentence.end) is not None
        for match in matches:
            start, end = match.span(match.lastgroup or 0)
            is_evidence = match.lastgroup not in ("strong", "code") and self._is_evidence(sentence, match, quoted_until)
            quoted_until = match.end() if is_evidence else -1
            link = self.catalogue.lookup(self.text[start:end], self.takes_ids)
            # A text the catalogue does not know is a label if it begins a list item, or the sentence lists candidates.
            may_be_new = lists_candidates or (sentence.is_item and start <= sentence.start + 2)
            if link is not None:
                yield self.named(start, end, link, not is_evidence)
            elif may_be_new and not is_evidence and _may_be_name(self.text[start:end]):
                yield self.named(start, end, None, True)

    def _is_evidence(self, sentence: Sentence, match: re.Match[str], quoted_until: int) -> bool:
        """True for words quoted from the document: after `the text says`, or next in a row of such."""
        if quoted_until >= 0 and ENUMERATION_GAP.fullmatch(self.text, quoted_until, match.start(match.lastgroup or 0)):
            return True
        return self.cues.search(EVIDENCE_BEFORE, max(sentence.start, match.start() - 60), match.start()) is not None

    def _numbered(self, sentence: Sentence) -> list[Named]:
        if not self.takes_ids:
            return []
        matches = BRACKET_ID.finditer(self.text, sentence.start, sentence.end)
        links = ((match, self.catalogue.lookup_id(match[0])) for match in matches)
        return [self.named(match.start(), match.end(), link, True) for match, link in links if link is not None]

    def _plain(self, sentence: Sentence) -> list[Named]:
        found = []
        is_summary: bool | None = None  # asked once: a sentence may name a thousand labels
        heads_until = sentence.start + 2 if sentence.is_item or sentence.is_whole_line else -1
        for start, end, label_id in self.catalogue.find_names(self.text, sentence.start, sentence.end, self._starts):
            text = self.text[start:end]
            link, is_sure = self.catalogue.lookup_plain(text, label_id)
            if is_sure and is_summary is None:
                is_summary = self.cues.search(DOCUMENT_CUE, sentence.start, sentence.end) is not None
            is_sure = (is_sure and not is_summary) or (start <= heads_until and self._heads_line(sentence, end))
            about = None if link is None else link.label_id
            identity = self.catalogue.identity(text, link) if about is None else about
            found.append(Named(Mention(text, self.source, start, end, link), identity, is_sure))
        return found

    def _heads_line(self, sentence: Sentence, end: int) -> bool:
        """True for a name at the beginning of a line or list item, if it is all of it, or set off as its heading (`- vim: …`)."""
        if end >= sentence.end - 2 and not any(char.isalnum() for char in self.text[end : sentence.end]):
            return True
        return sentence.is_item and HEAD_MARK.match(self.text, end, sentence.end) is not None

    def _enumerated(self, sentence: Sentence, colon: re.Match[str], plain: Sequence[Named]) -> Iterator[Named]:
        """Pieces after the colon of a sentence that announces candidates, such as `Candidates: vim, emacs and nano`."""
        if self.cues.search(SHORTLIST_CUE, sentence.start, colon.start()) is None:
            return
        names = Taken(sentence.start, sentence.end, ((named.mention.start, named.mention.end) for named in plain))
        pieces = list(separated(self.text, colon.end(), sentence.end, names))
        for start, end in pieces if len(pieces) > 1 else []:
            link = self.catalogue.lookup(self.text[start:end], self.takes_ids)
            is_short = len(self.text[start:end].split()) <= PIECE_WORDS
            if link is not None or (is_short and not names.touches(start, end) and not MARKED.search(self.text, start, end)):
                yield self.named(start, end, link, True)


def _may_be_name(text: str) -> bool:
    return not looks_like_sentence(text) and bool(normalise(text))


def longest(mentions: Iterable[Named], sentence: Sentence) -> list[Named]:
    """Of mentions that overlap the longest, the first of equals."""
    found: list[Named] = []
    taken = Taken(sentence.start, sentence.end)
    for named in sorted(mentions, key=lambda named: named.mention.start - named.mention.end):
        if not taken.touches(named.mention.start, named.mention.end):
            taken.add(named.mention.start, named.mention.end)
            found.append(named)
    return found


class KnownLabels:
    """Labels that a trace names for sure somewhere: naming them in plain text counts, in the catalogue or not."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        """Take the labels by what their mentions are about."""
        self._identities = frozenset(identities)
        widths: dict[str, set[int]] = {}
        for name in self._identities:
            words = name.split() if isinstance(name, str) and len(name) <= LONGEST_NAME else []
            if words:
                widths.setdefault(words[0], set()).add(len(words))
        self._widths = {word: sorted(counts, reverse=True) for word, counts in widths.items()}

    def among(self, finder: MentionFinder, sentence: Sentence, found: Sequence[Named], takes_sure: bool = False) -> list[Named]:
        """The mentions of a sentence that are of known labels, and any sure ones if wished, by place."""
        kept = [named for named in found if named.identity in self._identities or (takes_sure and named.is_sure)]
        unknown = list(self._unknown(finder, sentence.start, sentence.end)) if self._widths else []
        if not unknown:
            return kept
        kept = longest([*(finder.named(start, end, None, True) for start, end in unknown), *kept], sentence)
        return sorted(kept, key=lambda named: named.mention.start)

    def _unknown(self, finder: MentionFinder, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Labels the catalogue does not know, the longest first from the left; a name in words is found in one pass."""
        words, at, after = finder.words_within(start, end)
        if self._widths.keys().isdisjoint(words.folded[at:after]):
            return
        while at < after:
            counts = [n for n in self._widths.get(words.folded[at], ()) if at + n <= after]
            count = next((n for n in counts if " ".join(words.folded[at : at + n]) in self._identities), 0)
            first, last = words.starts[at], words.ends[at + max(count, 1) - 1]
            if count and "_" not in (finder.text[first - 1 : first], finder.text[last : last + 1]):
                yield first, last
            at += max(count, 1)


def sure_mentions(finder: MentionFinder, cut: Sequence[Sentence], confirmed: Iterable[Identity]) -> list[list[Named]]:
    """By sentence, the sure mentions, and the others of labels that are named for sure somewhere in the trace."""
    found = _with_unknown_items(finder, cut, [finder.find(sentence) for sentence in cut])
    known = KnownLabels([*confirmed, *(named.identity for sentence in found for named in sentence if named.is_sure)])
    return [known.among(finder, sentence, named) for sentence, named in zip(cut, found, strict=True)]


def _with_unknown_items(finder: MentionFinder, cut: Sequence[Sentence], found: list[list[Named]]) -> list[list[Named]]:
    """A bullet list of which most items are no more than a known label names labels in its other short items too."""
    at = 0
    while at < len(cut):
        end = at + 1
        while cut[at].is_item and end < len(cut) and cut[end].is_item:
            end += 1
        if end - at > 1 and 2 * sum(map(finder.is_whole, cut[at:end], found[at:end])) > end - at:
            found[at:end] = [
                named or finder.find(sentence._replace(is_listed=True))
                for sentence, named in zip(cut[at:end], found[at:end], strict=True)
            ]
        at = end
    return found
