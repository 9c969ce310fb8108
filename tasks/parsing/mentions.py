"""Labels named in a sentence: marked ones (quoted, bold, listed, by number) and names of the catalogue in plain text.

A marked text counts on its own. A plain name counts when it is spelled as in the catalogue and is no everyday word, or
when the trace names the same label elsewhere beyond doubt. A quotation of the document counts only in the second case.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tasks.parsing.cues import DOCUMENT_CUE, EVIDENCE_BEFORE, SHORTLIST_CUE
from tasks.parsing.drafts import Link, Mention
from tasks.parsing.items import Item, item_mention, known_reading, looks_like_sentence, separated
from tasks.parsing.names import BRACKET_ID, Catalogue, head_of, normalise
from tasks.parsing.sentences import MARKED, Sentence

Identity = int | str
"""What a mention is about: a label number, or the normalised text (its head, if it has one) when unknown."""

ENUMERATION_GAP = re.compile(r"[\"”’'»`*_)\]]*\s*(?:\([^)]*\)\s*)?(?:[,;]|and|or)[,;\s]*(?:and\s+|or\s+)?[\"“‘'«`*_(\[]*")
PIECE_WORDS = 4
"""An unknown piece of an enumeration of more words is no label."""

COLON = re.compile(r"[:：]\s+|[:：]$")


class Named(NamedTuple):
    """A mention in a sentence: `is_sure` unless the rest of the trace must confirm it."""

    mention: Mention
    identity: Identity
    is_sure: bool


@dataclass(frozen=True)
class MentionFinder:
    """Finds mentions in one raw text."""

    text: str
    source: str
    catalogue: Catalogue
    takes_ids: bool

    def find(self, sentence: Sentence) -> list[Named]:
        """All mentions of a sentence, sure and unsure, by place; the first of those that overlap or name the same label."""
        if sentence.is_item or sentence.is_listed or sentence.is_whole_line:
            whole = self._whole_item(sentence)
            if whole and sentence.is_listed:
                return [whole]
        else:
            whole = None
        found = [whole] if whole else []
        plain = self._plain(sentence)
        for named in (*self._marked(sentence), *self._numbered(sentence), *self._enumerated(sentence, plain), *plain):
            if not any(named.mention.start < n.mention.end and n.mention.start < named.mention.end for n in found):
                found.append(named)
        found.sort(key=lambda named: named.mention.start)
        first: dict[Identity, Named] = {}
        for named in found:
            if named.identity not in first or (named.is_sure and not first[named.identity].is_sure):
                first[named.identity] = named
        return list(first.values())

    def named(self, start: int, end: int, link: Link | None, is_sure: bool) -> Named:
        """The mention at a span."""
        text = self.text[start:end]
        return Named(Mention(text, self.source, start, end, link), identity_of(text, link), is_sure)

    def _whole_item(self, sentence: Sentence) -> Named | None:
        item = Item(sentence.start, sentence.end, sentence.is_item)
        if sentence.is_listed:
            mention = item_mention(self.text, self.source, item, self.catalogue, self.takes_ids)
            return Named(mention, identity_of(mention.text, mention.link), True) if mention else None
        known = known_reading(self.text, item, self.catalogue, self.takes_ids)
        if known is None:
            return None
        # In running text, the beginning of a line is a mention for sure only if it is no everyday word.
        is_sure = sentence.is_item or known[1] - known[0] == sentence.end - sentence.start
        return self.named(*known, is_sure=is_sure)

    def _marked(self, sentence: Sentence) -> Iterator[Named]:
        quoted_until = -1
        for match in MARKED.finditer(self.text, sentence.start, sentence.end):
            start, end = match.span(match.lastgroup or 0)
            is_evidence = match.lastgroup not in ("strong", "code") and (
                EVIDENCE_BEFORE.search(self.text, max(sentence.start, match.start() - 60), match.start()) is not None
                or (quoted_until >= 0 and ENUMERATION_GAP.fullmatch(self.text, quoted_until, match.end()) is not None)
                or (quoted_until >= 0 and ENUMERATION_GAP.fullmatch(self.text, quoted_until, start) is not None)
            )
            quoted_until = match.end() if is_evidence else -1
            link = self.catalogue.lookup(self.text[start:end], self.takes_ids)
            if link is not None:
                yield self.named(start, end, link, not is_evidence)
            elif not is_evidence and self._may_be_new(sentence, start, end):
                yield self.named(start, end, None, True)

    def _may_be_new(self, sentence: Sentence, start: int, end: int) -> bool:
        """A marked text the catalogue does not know is a label if the sentence lists or weighs candidates."""
        if looks_like_sentence(self.text[start:end]) or not normalise(self.text[start:end]):
            return False
        return sentence.is_item or SHORTLIST_CUE.search(self.text, sentence.start, sentence.end) is not None

    def _numbered(self, sentence: Sentence) -> Iterator[Named]:
        for match in BRACKET_ID.finditer(self.text, sentence.start, sentence.end) if self.takes_ids else ():
            link = self.catalogue.lookup_id(match[0])
            if link is not None:
                yield self.named(match.start(), match.end(), link, True)

    def _plain(self, sentence: Sentence) -> list[Named]:
        is_summary = DOCUMENT_CUE.search(self.text, sentence.start, sentence.end) is not None
        found = []
        for start, end, label_id in self.catalogue.find_names(self.text, sentence.start, sentence.end):
            is_plain = self.catalogue.is_plain_name(self.text[start:end], label_id)
            link = self.catalogue.lookup(self.text[start:end])
            found.append(self.named(start, end, link, is_plain and not is_summary))
        return found

    def _enumerated(self, sentence: Sentence, plain: Sequence[Named]) -> Iterator[Named]:
        """Pieces after the colon of a sentence that announces candidates, such as `Candidates: vim, emacs and nano`."""
        colon = COLON.search(self.text, sentence.start, sentence.end)
        if colon is None or SHORTLIST_CUE.search(self.text, sentence.start, colon.start()) is None:
            return
        names = [(named.mention.start, named.mention.end) for named in plain]
        pieces = list(separated(self.text, colon.end(), sentence.end, names))
        for start, end in pieces if len(pieces) > 1 else []:
            link = self.catalogue.lookup(self.text[start:end], self.takes_ids)
            holds_name = any(start < last and first < end for first, last in names)
            is_short = len(self.text[start:end].split()) <= PIECE_WORDS
            if link is not None or (is_short and not holds_name and not MARKED.search(self.text, start, end)):
                yield self.named(start, end, link, True)


def identity_of(text: str, link: Link | None) -> Identity:
    """The label a mention leads to; for an unknown text its words before `: `."""
    if link is not None and link.label_id is not None:
        return link.label_id
    return normalise(head_of(text) or text)


class KnownLabels:
    """Labels that a trace names for sure somewhere: naming them in plain text counts, in the catalogue or not."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        """Take the labels by what their mentions are about."""
        self._identities = frozenset(identities)
        words = [re.escape(i).replace(r"\ ", r"[\W_]+") for i in self._identities if isinstance(i, str) and i]
        words.sort(key=len, reverse=True)
        self._unknown = re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE) if words else None

    def among(self, finder: MentionFinder, sentence: Sentence, found: Sequence[Named], takes_sure: bool = False) -> list[Named]:
        """The mentions of a sentence that are of known labels, and any sure ones if wished, by place."""
        kept = [named for named in found if named.identity in self._identities or (takes_sure and named.is_sure)]
        taken = {named.identity for named in kept}
        for match in self._unknown.finditer(finder.text, sentence.start, sentence.end) if self._unknown else ():
            named = finder.named(match.start(), match.end(), None, True)
            if named.identity not in taken:
                taken.add(named.identity)
                kept.append(named)
        return sorted(kept, key=lambda named: named.mention.start)


def sure_mentions(finder: MentionFinder, cut: Sequence[Sentence], confirmed: Iterable[Identity]) -> list[list[Named]]:
    """By sentence, the sure mentions, and the others of labels that are named for sure somewhere in the trace."""
    found = [finder.find(sentence) for sentence in cut]
    known = KnownLabels([*confirmed, *(named.identity for sentence in found for named in sentence if named.is_sure)])
    return [known.among(finder, sentence, named) for sentence, named in zip(cut, found, strict=True)]
