"""English words that show what a sentence of a reasoning trace does: list candidates, compare, decide, conclude, refuse.

Prose in another language has none of them, so neither verdicts nor a sure boundary. All are looked for in `lowered` text,
which is three times as fast as ignoring case; the texts before the patterns say with which words they begin.
"""

import re
from typing import NamedTuple

from tasks.parsing.cue_search import Cue, CueText, Openings
from tasks.parsing.words import Words, words_of


def lowered(text: str) -> str:
    """The text in lower case with straight apostrophes, character for character, so that spans fit both."""
    low = text.replace("’", "'").lower()
    return low if len(low) == len(text) else "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


def _phrases(openings: str, *phrases: str) -> Cue:
    """Any of these phrases (regular expressions), at the beginning of a word."""
    return Cue.of(openings, rf"\b(?:{'|'.join(phrases)})")


LABEL_NOUNS = "answers?|labels?|tags?|categories|topics|selections?|choices?|picks?|set|list"
"""What a final choice is called."""

SHORTLIST_CUE = _phrases(
    "bra can com con cou fir ini jot lis lon may mig opt per pla pos pot rel sho thi to wha wor wri",
    r"(?:candidates?|options?|contenders?|perhaps|maybe|plausible|potential(?:ly)?)\b",
    r"(?:shortlist|brainstorm|possibl|possibilit)\w*|(?:long|short)[ -]?lists?\b",
    r"comes? to mind\b",
    r"(?:could|might) (?:be|also|include|fit|apply)\b",
    r"(?:initial (?:list|set|ideas?)|first (?:pass|ideas?|thoughts?)|to start with|what about)\b",
    r"(?:think(?:ing)? of|worth considering|write down|jot(?:ting)? down)\b",
    r"related (?:packages|labels|topics|items|tags|entries)\b",
    r"list(?:ing)? (?:some|a few|the|everything|what)\b",
)
REFINE_CUE = _phrases(
    "aga are bac be clo dee dou eac go goi hol in let loo mor nar not now on one re rec ree ref rev tak wei wha whi",
    r"(?:again|back to|on reflection|one by one|one at a time|each one|each of (?:them|these))\b",
    r"(?:revisit|refin|narrow|weigh|double-check|re-?(?:examin|check|consider|visit|evaluat))\w*",
    r"go(?:ing)? (?:back|through|over)\b",
    r"let(?: me|'s| us) (?:check|verify|examine|compare|weigh|test|go)\b(?! on\b)",
    r"now (?:for|to) (?:the )?(?:detail|check|decid|filter|compar|refin)\w*",
    r"(?:look(?:ing)? (?:back )?at|(?:more|look) closely|(?:look )?closer|deeper|in (?:more )?detail|in turn)\b",
    r"(?:more |be )(?:careful|picky|strict|selective|critical)\b|holds? up\b",
    r"(?:which|what) (?:ones?|of (?:these|those|them)) (?:\w+ )?(?:apply|fit|belong|match|are (?:right|relevant|correct))\b",
    r"(?:not|are) all (?:of )?(?:them|these|those|that)\b|take (?:them|these|each)\b",
)
REFINE_HEADING = re.compile(
    r"\b(?:(?:screening|assessments?|evaluations?|reviews?|verification|analys[ie]s|decisions?|verdicts?|checks?|checking)\b"
    r"|(?:refinement|comparisons?|discussion|judge?ments?|filtering|elimination|reasoning)\b)"
)
"""What a section of arguments is headed with."""
CONCLUDE_CUE = _phrases(
    "all bes bri fin her i in ove put tak tha thi to we whi",
    r"final(?:ly|ize|ise)?\b",
    r"(?:in (?:the end|summary|conclusion|total)|to (?:sum up|conclude|summari[sz]e)|overall|all in all)\b",
    r"i(?:'ll|'d|'m| will| would| am)(?: going to)? (?:go with|answer|return(?! to)|settl(?:e|ing) on|submit|assign)\b",
    r"(?:put|putting|taking|bringing) (?:\w+ ){1,2}together\b|(?:that|this|which) gives\b|best described by\b",
    r"here (?:is|are) (?:what|my|the)\b",
    r"(?:(?:that|which|this) leaves|(?:we are|i am|i'm) left with)\b",
)
ANSWER_CUE = _phrases(
    "my the tho",
    rf"(?:my|the) (?:\w+ ){{0,2}}(?:{LABEL_NOUNS})(?: \w+){{0,2}} (?:is|are|will be|would be|should be)\b",
    rf"(?:these|those|the following) (?:\w+ )?(?:{LABEL_NOUNS}|ones?) (?:\w+ )?(?:apply|fit|match|remain|describe)\b",
    rf"(?:my|the) (?:final |chosen |selected )?(?:{LABEL_NOUNS}):",
)
"""Says outright which labels are the answer."""

DOCUMENT_CUE = _phrases(
    "a dea des is our the thi",
    r"(?:the|this|our|a) (?:\w+ )?(?:document|text|description|article|page|passage|abstract|entry|snippet)\b",
    r"(?:describes|is about|deals with)\b",
)
EVIDENCE_BEFORE = Cue.of(
    "acc bec cal des doc due fro giv men phr quo rea say spe sta tal ter tex tit wor",
    r"\b(?:mention\w*|says?|saying|stat(?:es|ed|ing)|describ\w+|text|document|description|title|reads?|quot\w+|phrases?|words?"
    r"|wording|terms?|talk\w* (?:about|of)|speaks? of|according to|from|given|because of|due to"
    r"|calls? (?:it|itself))\b[^\"“”«»`*]{0,30}$",
)
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)\b"
    r"|i (?:can(?:no|')t|cannot|won't|will not|must decline|decline)\b"
    r"|(?:sorry, (?:but|i)|as an ai|against (?:my|the) (?:policy|guidelines))\b"
    r"|(?:can't|cannot|unable to) (?:help|assist|comply|provide|do that)\b)"
)


def _heading(nouns: str) -> re.Pattern[str]:
    """A line, or the beginning of one, that announces a list of these."""
    return re.compile(
        r"^[ \t>#*_]*+(?:(?:step )?\d{1,2}[.):] +)?(?:(?:so|thus|therefore|hence)[, ]+)?"
        r"(?:(?:my|the|here (?:is|are)(?: my| the)?)\s+)?"
        rf"(?:(?:final|chosen|selected|resulting)\s+)?(?:{nouns})"
        r"(?:\s+(?:is|are|of labels|list|labels))?[*_ ]*(?:[:：]|$)[*_ \t]*",
        re.MULTILINE,
    )


ANSWERS = "answers?|labels?|tags?|selection|choices?|list|picks?|decision|set|results?|outcome|output|conclusions?"
ANSWER_HEADING = _heading(ANSWERS)
LIST_HEADING = _heading(rf"{ANSWERS}|shortlist|short list|candidates?")
"""Heads the list of an answer that is no more than a shortlist."""

ANSWER_LEAD = re.compile(
    rf"[^\n]{{0,120}}?(?:\b(?:{LABEL_NOUNS})(?: \w+){{0,2}}(?: (?:is|are|would be|should be):?|:)"
    r"|\b(?:go(?:ing)? with|settl(?:e|ing) on|(?:left|ends? up) with|best described by|gives|assign|sum up|conclusion):?|:)"
    r"[*_]* +(?=\S)"
)
"""The words before the labels of a final sentence: `The labels that fit best are`."""

_IT = r"(?:it|this|that|them|these|those|both|this one|that one|[\"'“«*`]*x{2,}[\"'”»*`]*)"
"""What a decision is about; a row of `x` is a name blotted out by `arguments.masked`."""

_KEEPS = (
    r"keep(?:s|er|ing)?(?! (?:going|on|in mind|\w+ing))|kept|retain(?:s|ed|ing)?|accept(?:s|ed|ing)?|selected|stays?(?! out)",
    r"remains? (?:in|on the)",
    rf"include {_IT}|includ(?:e|ing)(?= [\"'*`\[“])|add(?:ing)? {_IT}|makes? the (?:cut|list)|goes (?:in|on the list)",
    r"(?:is|are|be|gets?) (?:included|kept|(?:one of|among) (?:them|these)|in(?: here| there)?(?=[.,;!]|$))",
    r"i(?:'ll|'d| will| would)? (?:choose|pick|select|include|take|go with)|rather (?:have|use|take|keep)",
    r"verdict:? (?:yes|in)",
)
_DROPS = (
    r"drop(?:s|ped|ping)?|discard(?:s|ed|ing)?|exclud(?:e|es|ed|ing)|reject(?:s|ed|ing)?|skip(?:s|ped|ping)?",
    r"eliminat(?:e|ed|ing)|omit(?:s|ted|ting)?|left out|(?:is|are|'s|goes|stays?) out(?! of)|goes(?=[.,;!]|$)|pass on",
    r"verdict:? (?:no|out)",
    rf"rul(?:e|es|ed|ing) (?:{_IT} )?out|remov(?:e|ed|ing) (?:{_IT}|from)|leav(?:e|ing) (?:{_IT} )?(?:out|off|aside|behind)",
    rf"(?:cross|strik)(?:e|ed|ing)? (?:{_IT} )?(?:off|out)|set(?:ting)? (?:{_IT} )?aside|let(?:ting)? {_IT} go",
    rf"take {_IT} (?:off|out)|dismiss(?:es|ed|ing)?|disregard(?:s|ed|ing)?|ditch(?:ed|ing)?|scratch(?:ed|ing)?",
)
_FITS = (
    r"relevant|fits?|fitting|match(?:es|ing)?|suitable|appropriate|belongs?|appl(?:y|ies)|applicable|makes? sense|correct",
    r"spot on",
    r"(?:good|strong|clear|natural|solid|obvious|perfect|direct) (?:fit|match|candidate|choice|pick|companion|one)",
    r"(?:well |directly |clearly )?supported|deserves|convinc(?:ing|es|ed)|needed|useful|supports?",
    r"preferred|preferable|confident (?:about|in|of)",
    r"(?:points?|speaks?|argues?|decides?|tips?(?: \w+)?|leans?) (?:to(?:wards?)?|for|in favou?r of)",
    r"more (?:to the point|specific(?:ally)?|precise(?:ly)?|relevant|accurate(?:ly)?|direct(?:ly)?|like)",
    r"(?:better|stronger|closer)(?! to)",
    r"(?<!how )(?:that|it|this(?: one)?) works(?: (?:well|here))?(?=[.,;!]|$)|(?:text|document|description) (?:means|refers to)",
    r"(?:that one|it|this one|that|this) (?:is|looks|seems|sounds) (?:good|right|fine)|(?:believe|think|guess|suppose) so",
)
_MISSES = (
    r"not (?:mentioned|named|stated|covered)",
    r"irrelevant|unrelated|off[- ]topic|out of scope|tangential|far-fetched|a stretch|unlikely|unsupported|misses the",
    r"too (?:broad|generic|narrow|specific|general|far|weak|vague|loose\w*|distant)",
    r"redundant|superfluous|unnecessary|duplicates?(?: of)?|(?<!may be )(?<!might be )(?<!could be )(?<!'m )wrong",
    r"not(?= [\"'*`“]*x{2,})|something (?:else|different)",
    r"(?:superseded|subsumed|(?:already )?(?:covered|captured)) by|weaker|no need (?:for|of)|nothing to do with",
    r"(?:different|another) (?:domain|purpose|topic|field|thing|kind|matter)",
    r"(?:weak|poor|loose)(?:er)? (?:match|fit|link|connection|candidate|evidence)",
    r"no (?:support|evidence|mention|sign|basis|reason|trace|hint|indication|link|connection|match)|nothing (?:in the|about)",
    r"(?:doesn't|does not|never) (?:\w+ )?(?:mention|touch|talk|speak|refer|say|discuss|cover|involve)\w*(?: (?:on|about))?",
    r"nothing (?:\w+ ){0,2}(?:talks?|speaks?|mentions?|suggests?)(?: about)?",
    r"(?:don't|do not|can't|cannot) see (?:any|how|why)\w*",
    r"(?:can't|cannot|couldn't|could not|hard to) (?:justify|defend|argue)|(?:probably|certainly|definitely) not(?=[.,;!]|$)",
    r"(?:points?|speaks?|argues?) (?:elsewhere|against|away)",
)


def _either(openings: str, keeps: tuple[str, ...], drops: tuple[str, ...]) -> Cue:
    return Cue.of(openings, rf"\b(?:(?P<keep>{'|'.join(keeps)})|(?P<drop>{'|'.join(drops)}))\b")


_DECISION = _either(
    "'s acc add are be cro dis dit dro eli exc get goe i inc is kee kep lea lef let mak omi pas rat rej rem ret rul scr sel set "
    "ski sta str tak ver",
    _KEEPS,
    _DROPS,
)
_JUDGEMENT = _either(
    "a alr ano app arg bel bet can cap cer cle clo con cor cou cov dec def des dif dir do doc doe don dup far fit goo gue har "
    "irr it lea loo mak mat mis mor nat nee nev no not obv off out per poi poo pre pro red rel sol som spe spo str sub sui sup "
    "tan tex tha thi tip too unl unn unr uns use wea wel wro",
    _FITS,
    _MISSES,
)
_ASSENT = Cue.of(
    "abs def nah no nop sur yea yep yes",
    r"(?:(?<=[,?.] )|(?<=so )|(?<![^\n]))(?<!wait, )(?:(?P<keep>yes|yeah|yep|sure|definitely|absolutely)|(?P<drop>no(?:pe)?|nah))"
    r"(?=[,.!]|$)",
)
"""An answer to one's own question, set off by commas; `wait, no` takes back a thought, not a label."""

_FLIPS = Cue.of(
    "can fai har ins les n't nei nev no nor not rat wit",
    r"(?:\b(?:not|never|no (?:reason|need) to|cannot|hardly|neither|rather than|instead of|without|no|nor|nothing|fails? to|less)"
    r"|n't)(?:\s+\w+){0,2}\s+$",
)
_COMPARE = _phrases(
    "as bet clo com con dif in ins nea ove rat sim unl ver vs",
    r"(?:rather than|instead of|versus|better than|similar to|overlaps? with|as opposed to|in contrast)\b",
    r"(?:between|confused|unlike|(?<!all )over|overlaps?)\b",
    r"vs\b|close(?:r|st)?\b|compar(?:ed?|ing|ison)\b|differs? from\b|differences? between\b|near[- ]miss",
)
_AGAINST = Cue.of(
    "aga as cap clo com con cov dif dis dup fav giv ins opp ove rat red sam see sim sub sup tha unl ver vs",
    r"\b(?:rather than|instead of|versus|vs\b\.?|compar(?:ed?|ing) (?:it )?(?:to|with)|against|closer to|than|over|unlike"
    r"|(?:superseded|subsumed|covered|captured) by|duplicates?(?: of)?|redundant (?:with|to|given)|same as|(?<=, )see"
    r"|(?:as )?opposed to|differs? from|overlaps? with|similar to|distinct from|confused with|favou?r of|given that)"
    r"\s*(?:(?:plain|the|just|mere|label)\s+)*[\"'“‘«*`\[(_]*$",
)

_STATED = re.compile(
    r"[\"'”’»*`)\]]*\s*(?:[:|(]|[-–—=]+>?|→)[\s:|*_]*(?:(?P<keep>[✓✔✅]|(?:yes|in|included?|ok(?:ay)?|pass(?:es|ed)?|true)\b)"
    r"|(?P<drop>[✗✘✖❌×]|(?:no|out|n/?a|not applicable|fail(?:s|ed)?|false|none)\b))"
    r"(?:(?<=[✓✔✅✗✘✖❌×])|(?=\s*(?:[.,;:!|()*_–—-]|because\b|as\b|since\b|$)))"
)


CUES = (
    SHORTLIST_CUE, REFINE_CUE, CONCLUDE_CUE, ANSWER_CUE, DOCUMENT_CUE, EVIDENCE_BEFORE, _DECISION, _JUDGEMENT, _ASSENT, _FLIPS,
    _COMPARE, _AGAINST,
)  # fmt: skip
_OPENED = Openings(CUES)


def stated_verdict(low: str, mention_end: int, end: int) -> str | None:
    """The verdict of a working paper that stands right after a name: `vim - yes`, `| vim | n/a |`, `vim: ✓ ...`."""
    stated = _STATED.match(low, mention_end, end)
    return None if stated is None else "keep" if stated["keep"] else "drop"


class Judgement(NamedTuple):
    """One word or phrase that keeps or drops: its characters, and `keep` or `drop` with a negation turned round."""

    start: int
    end: int
    verdict: str


def cue_text(low: str, words: Words | None = None) -> CueText:
    """A lowered text ready to be searched for cues; `words`: those of the text, if it is cut into words already."""
    return CueText.of(low, words or words_of(low, 0, len(low)), CUES, _OPENED)


def judgements(text: CueText, start: int, end: int) -> list[Judgement]:
    """What a span keeps and drops: its decisions ("so I drop it"), else its judgements ("too broad"), else its yes and no."""
    return decisions(text, start, end) or _judged(_JUDGEMENT, text, start, end) or _judged(_ASSENT, text, start, end)


def decisions(text: CueText, start: int, end: int) -> list[Judgement]:
    """What a span keeps and drops in so many words."""
    return _judged(_DECISION, text, start, end)


def _judged(cue: Cue, text: CueText, start: int, end: int) -> list[Judgement]:
    found = []
    for match in text.findall(cue, start, end):
        first, last = match.span()
        is_keep = match["keep"] is not None
        is_flipped = text.search(_FLIPS, max(start, first - 40), first) is not None
        found.append(Judgement(first, last, "keep" if is_keep != is_flipped else "drop"))
    return found


def is_verdict_word(low: str) -> bool:
    """True if the text is no more than a decision, such as `keep`."""
    return _DECISION.pattern.fullmatch(low) is not None


def has_comparison(text: CueText, start: int, end: int) -> bool:
    """True if the span sets one thing against another."""
    return text.search(_COMPARE, start, end) is not None


def is_argued_against(text: CueText, start: int, mention_start: int) -> bool:
    """True if the words before a mention set it up as the other side: `rather than vim`, `unlike vim`."""
    return text.search(_AGAINST, max(start, mention_start - 40), mention_start) is not None


def named_verdict(word: str) -> str:
    """The verdict a field of a structured answer states, such as `keep`, `Rejected` or `yes`."""
    plain = word.strip().casefold()
    if plain in ("yes", "true", "in", "include", "included", "retain", "select"):
        return "keep"
    if plain in ("no", "false", "out", "remove", "removed", "exclude"):
        return "drop"
    if plain in ("keep", "drop", "compare"):
        return plain
    text = cue_text(lowered(word))
    last = judgements(text, 0, len(word))[-1:]
    return last[0].verdict if last else "compare" if has_comparison(text, 0, len(word)) else "none"
