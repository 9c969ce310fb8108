"""A wording kept away from the parser's making: written from how reasoning models talk, without sight of what the parser reads.

Two registers, drawn per trace: an essay in paragraphs, and somebody talking to themselves.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.traces.stand_in.thinking import Thought
from tests.bench.wordings.said import Phase, Said, Verdict

Length = Literal["full", "short", "fading"]
Clauses = tuple[str, str]

QUOTES = (('"', '"'), ('"', '"'), ('"', '"'), ("“", "”"), ("'", "'"))
BOLD, PLAIN = ("**", "**"), ("", "")
BULLETS = ("- ", "* ", "• ", "{}. ", "{}) ")
LENGTHS: tuple[Length, ...] = ("full", "short", "fading")
SLIP_FRAC = 0.05
"""Mentions that stray from the form the trace otherwise keeps to."""


@dataclass(frozen=True)
class Register:
    """Sentences by what they do. `*_it` decide about the label that the sentence before them, of `doubt`, has named.

    `gather_more` can follow other candidates only. `pairs` go by whether the first and the second label is kept; `break_frac` is
    how often a judgement opens a paragraph.
    """

    opening: tuple[str, ...]
    gather: tuple[str, ...]
    gather_more: tuple[str, ...]
    gather_one: tuple[str, ...]
    list_lead: tuple[str, ...]
    turn: tuple[str, ...]
    keep: tuple[str, ...]
    drop: tuple[str, ...]
    drop_beside: tuple[str, ...]
    doubt: tuple[str, ...]
    keep_it: tuple[str, ...]
    drop_it: tuple[str, ...]
    overlap: tuple[str, ...]
    pairs: Mapping[tuple[bool, bool], tuple[Clauses, ...]]
    aside: tuple[str, ...]
    close_named: tuple[str, ...]
    close: tuple[str, ...]
    break_frac: float


ESSAY = Register(
    opening=(
        "I need to find the labels in the catalogue that belong to the document {title}.",
        "The text is headed {title}, and its content sets the range of labels worth considering.",
        "Before committing to anything, it helps to establish what this document is actually about.",
        "The title, {title}, gives a fairly clear idea of the subject.",
        "To begin with, I should cast a wide net over the catalogue and collect whatever might be related.",
        "The set of options is very large, so I will first gather plausible entries and only afterwards examine them closely.",
        "The user has provided a document called {title} and wants the labels that apply to it.",
        "My first step is to identify the main themes of the text and the labels that could correspond to them.",
        "Taking the document as a whole, I can think of a few areas of the catalogue that may be relevant.",
        "Starting from the title {title}, the question is which labels a careful annotator would attach.",
    ),
    gather=(
        "Plausible entries include {names}.",
        "From {words}, one would naturally look at {names}.",
        "Labels in this vicinity are {names}.",
        "The vocabulary of the text, notably {words}, suggests {names}.",
        "{names} belong to the same general area and merit a closer look.",
        "A broad search would turn up {names}.",
        "The candidates that suggest themselves are {names}.",
    ),
    gather_more=(
        "It would also be reasonable to consider {names}.",
        "Further possibilities are {names}.",
        "On a more peripheral level, there are {names}.",
        "Since {words} may be significant here, I am noting {names} as well.",
        "In the same vein, one may look at {names}.",
    ),
    gather_one=(
        "Another entry in this range is {name}.",
        "There is also {name}, which could be connected through {words}.",
        "Separately, {name} may have some bearing on the text.",
        "The presence of {words} brings {name} into the picture.",
        "I would add {name} to the pool for now.",
        "One might further consider {name}.",
    ),
    list_lead=(
        "A first pool of candidates:",
        "The entries I would look at are these:",
        "An initial, deliberately generous list:",
        "Gathering what the text brings up:",
        "Potentially relevant labels:",
        "Here is what the catalogue seems to offer on this subject:",
    ),
    turn=(
        "With this pool in place, each candidate has to be examined on its own merits.",
        "The next step is to separate what the text actually supports from what is merely adjacent.",
        "Not everything here will hold up, so I will go through it more carefully.",
        "I now turn to the finer distinctions.",
        "Having collected this much, let me weigh it against the text.",
        "This selection is too generous as it stands, and it needs to be narrowed.",
        "Next comes the harder part: deciding between entries that look alike.",
        "Let me now evaluate how well each of these matches.",
        "At this point precision matters more than coverage.",
        "The question now is what the document itself bears out.",
    ),
    keep=(
        "{name} is directly supported by {words}, so it belongs in the final set.",
        "Given {words}, I consider {name} appropriate.",
        "{name} captures a central aspect of the document and should be retained.",
        "The case for {name} is strong, since the text refers to {words}.",
        "I see no reason to doubt {name}; it describes precisely what the document is concerned with.",
        "Because the text speaks of {words}, including {name} is justified.",
        "{name} withstands scrutiny.",
        "As for {name}, the connection through {words} is explicit, and I will include it.",
        "It is hard to imagine a complete annotation of this text without {name}.",
        "{name} clearly qualifies.",
        "The relationship between the document and {name} is substantive rather than incidental, which is enough to retain it.",
        "With {words} in the text, {name} earns its place.",
    ),
    drop=(
        "{name} is related only in a superficial way and should be excluded.",
        "Although {words} might hint at {name}, the document is not really about that.",
        "I find little in the text that would justify {name}.",
        "{name} falls outside the scope of the document.",
        "The link to {name} rests on {words} alone, which is too thin a basis for including it.",
        "As for {name}, the association is tangential at best, and I will leave it out.",
        "Applying {name} would be an overreach.",
        "Nothing beyond {words} speaks for {name}, so I am setting it aside.",
        "{name} addresses a different need than the one described here.",
        "On reflection, {name} does not hold up.",
        "One could argue for {name}, but the argument would depend on reading too much into {words}.",
        "It would be a stretch to attach {name} to this text.",
    ),
    drop_beside=(
        "Between {name} and {rival}, the latter is the closer match, so the former can go.",
        "{rival} expresses the same idea more accurately, which makes {name} redundant.",
        "Compared with {rival}, {name} is less specific to what the text describes, and I would not include it.",
        "Whatever {name} would contribute is covered by {rival}.",
        "The reference to {words} favours {rival} over {name}.",
        "{name} competes with {rival} here and loses.",
        "While {name} is a near miss, the mention of {words} fits {rival} better, and {name} has to be discarded.",
        "If only one of {name} and {rival} is to be chosen, it must be {rival}.",
        "{rival} is what the document has in mind; {name} merely resembles it.",
        "I would reject {name} in favour of {rival}, given {words}.",
        "{name} and {rival} are easily confused, yet only {rival} corresponds to the text.",
        "Unlike {rival}, {name} finds no real support in the text.",
    ),
    doubt=(
        "The status of {name} is less obvious.",
        "{name} requires some thought.",
        "Whether {name} applies depends on how one reads {words}.",
        "{name} is a borderline case.",
        "I am of two minds about {name}.",
        "For {name}, there are arguments on both sides.",
    ),
    keep_it=(
        "On balance, it contributes something the text clearly calls for, so it stays.",
        "The mention of {words} tips the scales, and I will include it.",
        "It is nonetheless well founded, and I am including it.",
        "In the end, the evidence from {words} is sufficient to retain it.",
        "A closer reading confirms that it applies.",
        "Having reread the passage with {words}, I am satisfied that it belongs.",
    ),
    drop_it=(
        "On balance, the connection is too weak, and it should be left out.",
        "The mention of {words} does not suffice, so I am excluding it.",
        "In the end, it remains peripheral and is better omitted.",
        "A closer reading shows that it does not apply.",
        "It would fit a neighbouring document rather than this one, so it goes.",
        "Since {words} can be explained otherwise, I decide against it.",
    ),
    overlap=(
        "{name} and {rival} cover neighbouring ground.",
        "There is considerable overlap between {name} and {rival}.",
        "The choice between {name} and {rival} is not trivial.",
        "{name} has to be seen alongside {rival}.",
        "One has to ask how {name} differs from {rival}.",
    ),
    pairs={
        (True, False): (
            ("{name} is well supported,", "whereas {name} is not."),
            ("I would retain {name} on account of {words},", "but I would not extend that to {name}."),
            ("The text warrants {name},", "though {name} goes a step too far."),
        ),
        (False, False): (
            ("{name} has no real basis in the text,", "and {name} is equally hard to defend."),
            ("I would exclude {name} as too remote,", "and {name} for much the same reason."),
            ("{name} is about something else,", "and the same must be said of {name}."),
        ),
        (True, True): (
            ("{name} is an evident choice,", "and {name} complements it well."),
            ("I will include {name},", "and {name} likewise belongs here."),
            ("{name} follows from {words},", "and {name} is no less relevant."),
        ),
        (False, True): (
            ("{name} can be dismissed,", "but {name} is worth retaining for {words}."),
            ("{name} misses the point of the text,", "whereas {name} meets it."),
            ("I am not convinced by {name},", "but I do accept {name}."),
        ),
    },
    aside=(
        "I should not confuse the subject of the text with its incidental vocabulary.",
        "The wording of the document is fairly general at this point.",
        "It is worth keeping in mind that the catalogue has many similar entries.",
        "A reader looking for this document would expect only what is central to it.",
        "The distinctions here are fine ones.",
    ),
    close_named=(
        "This leaves {names}.",
        "In conclusion, my selection is {names}.",
        "The final set therefore consists of {names}.",
        "What remains after this comparison is {names}.",
        "Overall, the text supports {names}.",
    ),
    close=(
        "That settles the selection.",
        "I am reasonably confident in this outcome.",
        "No further entries seem necessary.",
        "With everything considered, I can now answer.",
        "This concludes the comparison.",
    ),
    break_frac=0.2,
)

SELF_TALK = Register(
    opening=(
        "Okay, so the document is {title}.",
        "Alright, let me see what we've got here.",
        "Hmm, {title}, so what goes with that?",
        "Okay, I have to pick labels for this thing out of a huge list.",
        "So we have something called {title}, and I need to tag it.",
        "First, let me just throw out whatever comes to mind.",
        "Right, {title}, let me think about what that involves.",
        "So what is this actually about?",
        "Let me brainstorm a bit before I get picky.",
        "Okay, no idea yet how many labels this needs, so I'll just start collecting.",
    ),
    gather=(
        "Maybe {names}?",
        "Off the top of my head, {names}.",
        "I see {words} in there, so stuff like {names}.",
        "{names} might be something.",
        "It talks about {words}, so perhaps {names}.",
        "So there's {names}, for a start.",
        "First thing I think of is {names}.",
    ),
    gather_more=(
        "Then there's {names}.",
        "Could be {names} too.",
        "Also thinking of {names}.",
        "Oh, and {words}, that reminds me of {names}.",
        "Let's throw in {names} while we're at it.",
        "What else, {names}, I guess.",
    ),
    gather_one=(
        "Oh, and maybe {name}.",
        "Might be {name} too, what with {words}.",
        "Hm, {name} could come up as well.",
        "There's {words}, which sounds a bit like {name}.",
        "Let me also jot down {name}.",
        "Wait, what about {name}, is that something?",
    ),
    list_lead=(
        "So, possible ones:",
        "Let me list some:",
        "Things that come to mind:",
        "Okay, rough list:",
        "Stuff to check:",
        "Ideas so far:",
    ),
    turn=(
        "Okay, now let me actually check these.",
        "Right, that's enough of a pile, time to sort through it.",
        "Now which of these do I actually want?",
        "Alright, let me go one by one.",
        "Hold on, I can't take everything, so let me be pickier.",
        "Let me look at these properly.",
        "So, what really fits?",
        "Fine, but I was just free-associating there, so let me get serious.",
        "Now let me go back over that.",
        "Time to cut this down.",
    ),
    keep=(
        "{name}, yeah, that's a clear one.",
        "Okay, {name} is in, it literally says {words}.",
        "I'm pretty happy with {name}.",
        "{name} makes sense because of {words}.",
        "Definitely {name}.",
        "I'd go with {name}, the text has {words} after all.",
        "{name} feels right.",
        "With {words} right there, I can't skip {name}.",
        "So {name} gets a yes.",
        "{name} is basically what the whole thing is about, so that one's staying.",
        "No question about {name}.",
        "I'll take {name}, seeing as it mentions {words}.",
    ),
    drop=(
        "{name}, nah, that's too far off.",
        "I don't think {name} works here.",
        "It does say {words}, but that's not enough for {name}.",
        "{name} is out.",
        "Not {name}, I only thought of it because of {words}.",
        "I'll skip {name}.",
        "{name} would be kind of random here.",
        "Hmm, {name} is a bit of a reach, so no.",
        "Scratch {name}.",
        "Can't really see {name}, even with {words} in there.",
        "{name} was a nice idea but the text doesn't go there.",
        "I'm not even sure why I listed {name}, so let's forget that one.",
    ),
    drop_beside=(
        "{rival} is just better than {name} here, so no {name}.",
        "If I've got {rival}, I don't need {name}.",
        "{name} or {rival}, hmm, I'd say {rival}.",
        "I'd rather have {rival} than {name}.",
        "{name} is close, but with {words} it's really {rival} they mean.",
        "{name} says more or less the same as {rival}, only worse, so skip it.",
        "{name} is like a weaker version of {rival}, so I'll pass.",
        "{rival} beats {name} on {words}.",
        "Swap {name} for {rival}, that's more on point.",
        "Nope on {name}, {rival} does that job.",
        "They'd use {rival} for this, not {name}.",
        "{name} loses to {rival}, what with {words} and all.",
    ),
    doubt=(
        "Hmm, {name} is tricky.",
        "Now {name}, I'm not sure.",
        "What about {name}?",
        "{name} could go either way.",
        "Okay, {name}...",
        "Wait, do I want {name}?",
    ),
    keep_it=(
        "Yeah, let's keep it.",
        "It does mention {words}, so okay, it's in.",
        "Actually yes, that one works.",
        "I'll go with yes because of {words}.",
        "Fine, I'll take it.",
        "I keep coming back to {words}, so it stays.",
    ),
    drop_it=(
        "Nah, leave it.",
        "Sure, there's {words}, but no.",
        "Actually no, that's something else.",
        "I'd rather not.",
        "Doesn't really match, so out it goes.",
        "Just having {words} isn't enough, so it's a no.",
    ),
    overlap=(
        "Hmm, {name} or {rival}?",
        "{name} and {rival} are kind of the same thing.",
        "Okay, {name} versus {rival}.",
        "Aren't {name} and {rival} pretty close?",
        "I keep mixing up {name} and {rival}.",
    ),
    pairs={
        (True, False): (
            ("{name} yes,", "{name} no."),
            ("I'm taking {name},", "but {name} can go."),
            ("{name} works with {words},", "but {name} doesn't."),
        ),
        (False, False): (
            ("{name} is out,", "and so is {name}."),
            ("No to {name},", "and no to {name} too."),
            ("I'm tossing {name},", "and {name} with it."),
        ),
        (True, True): (
            ("{name} is fine,", "and {name} is too."),
            ("Yes to {name},", "and I'd say {name} as well."),
            ("{name} stays because of {words},", "and {name} can stay too."),
        ),
        (False, True): (
            ("{name} can go,", "but {name} is good."),
            ("Forget {name},", "but {name} I do want."),
            ("I'd pass on {name},", "but {name} goes well with {words}."),
        ),
    },
    aside=(
        "Let me reread that part.",
        "Hmm, there are a lot of similar ones in here.",
        "I shouldn't overthink this.",
        "Okay, next.",
        "Wait, let me not get carried away.",
    ),
    close_named=(
        "So that's {names}.",
        "Okay, going with {names}.",
        "So in the end I've got {names}.",
        "Let me settle on {names}.",
        "Final call: {names}.",
    ),
    close=(
        "Okay, that's it.",
        "I think that's good.",
        "Good enough, let me write it up.",
        "That should do.",
        "Nothing else jumps out.",
    ),
    break_frac=0.5,
)

GATHER_ITEMS = (
    "{name}",
    "{name} ({words})",
    "{name}, because of {words}",
    "possibly {name}",
    "{name} – related to {words}",
    "{name}, a looser association",
    "{name}, suggested by {words}",
    "{name} (to be checked)",
    "{words} → {name}",
    "{name}, perhaps",
    "{name}, worth a look",
)
KEEP_ITEMS = (
    "{name} – fits, because of {words}",
    "{name}: strong match, keep",
    "{name} -> yes",
    "{name} (yes, {words})",
    "{name} – central to the text, include",
    "Yes: {name}",
    "{name}, a good match",
    "{name} ✓",
    "{name} – relevant, the text mentions {words}",
    "Include {name} on the strength of {words}",
)
DROP_ITEMS = (
    "{name} – too loosely related, skip",
    "{name} -> no",
    "{name} (no, despite {words})",
    "{name}: off topic",
    "No: {name}",
    "{name}, not what the text is about",
    "{name} ✗",
    "{name} – suggested only by {words}, so out",
    "Exclude {name}, a weak link",
    "{name} – rests on {words} and little else, reject",
)
DROP_BESIDE_ITEMS = (
    "{name} – {rival} is the better fit",
    "{name} -> no, {rival} instead",
    "{name} (weaker than {rival}, so no)",
    "{name}, redundant beside {rival}",
    "{rival} rather than {name}",
    "No: {name}, because {rival} says it better",
    "{name} vs {rival}: the second wins, given {words}",
    "{name} – near miss, going by {words} it should be {rival}",
    "{name} ✗ (covered by {rival})",
    "Exclude {name}, {rival} is closer",
)


def held_out(thought: Thought, title: str, draw: random.Random) -> list[Said]:
    """The reasoning about a document of this title, in one of the two registers."""
    writer = Writer(thought, title, draw)
    writer.gather()
    writer.refine()
    writer.close()
    writer.end_with("\n")
    return writer.said


class Names:
    """Candidates' names in one form for the whole trace, but for a slip here and there.

    A name is shortened to what stands before its first `: ` only where no other candidate would be shortened to the same.
    """

    def __init__(self, thought: Thought, draw: random.Random) -> None:
        self._names = [candidate.name for candidate in thought.candidates]
        self._draw = draw
        self.quotes = draw.choice(QUOTES)
        self._mark = draw.choice((self.quotes, BOLD, PLAIN))
        self._length = draw.choice(LENGTHS)
        self._last_comma = draw.choice(("", ","))
        self._seen: set[int] = set()

    def quoted(self, text: str) -> str:
        """Words of the document, or its title, in the trace's quotation marks."""
        return text.join(self.quotes)

    def one(self, place: int) -> str:
        """The candidate at this place, named."""
        is_short = self._length == "short" or (self._length == "fading" and place in self._seen)
        if self._draw.random() < SLIP_FRAC:
            is_short = not is_short
        self._seen.add(place)
        name = self._shortened(place) if is_short else self._names[place]
        mark = PLAIN if self._draw.random() < SLIP_FRAC else self._mark
        if mark[0] and (mark[0] in name or mark[1] in name):
            mark = BOLD
        return name.join(mark)

    def several(self, places: Sequence[int]) -> str:
        """The candidates at these places as one enumeration, with semicolons where commas would be misread."""
        named = [self.one(place) for place in places]
        if len(named) == 1:
            return named[0]
        has_commas = self._mark == PLAIN and any("," in name for name in named)
        separator = ";" if has_commas else ","
        last = separator if has_commas else self._last_comma
        head = f"{separator} ".join(named[:-1])
        return f"{head}{last if len(named) > 2 else ''} and {named[-1]}"

    def _shortened(self, place: int) -> str:
        heads = [name.partition(": ")[0].strip() for name in self._names]
        head = heads[place]
        return head if head and heads.count(head) == 1 else self._names[place]


class Writer:
    """Writes one trace sentence by sentence; a sentence is not built the same way twice before all ways are used."""

    def __init__(self, thought: Thought, title: str, draw: random.Random) -> None:
        self.said: list[Said] = []
        self._candidates = thought.candidates
        self._title = title.strip()
        self._draw = draw
        self._register = draw.choice((ESSAY, SELF_TALK))
        self._names = Names(thought, draw)
        self._bullet = draw.choice(BULLETS)
        self._list_frac = draw.choice((0.0, 0.3, 0.7))
        self._used: set[str] = set()

    def gather(self) -> None:
        """Name all candidates, the likeliest roughly first."""
        self._say(self._register.opening, "shortlist")
        left = sorted(range(len(self._candidates)), key=lambda place: place + self._draw.uniform(0, 4))
        ways = self._register.gather
        while left:
            size = self._draw.randint(2 if ways is self._register.gather else 1, 5)
            group, left = left[:size], left[size:]
            if len(group) > 2 and self._chance(self._list_frac):
                self._list(group)
            else:
                self._say(ways if len(group) > 1 else self._register.gather_one, "shortlist", group)
            ways = self._register.gather + self._register.gather_more

    def refine(self) -> None:
        """Turn to judging, and judge every candidate once."""
        self.end_with("\n\n" if self._chance(0.8) else " ")
        self._say(self._register.turn, "refine")
        order = self._order()
        if self._chance(0.2):
            self._judge_in_list(order)
        else:
            self._judge_in_prose(order)

    def close(self) -> None:
        """Sum up, or stop without a word."""
        kept = [place for place, candidate in enumerate(self._candidates) if candidate.is_kept]
        if self._chance(0.3):
            return
        self.end_with("\n\n" if self._chance(0.7) else " ")
        if kept and self._chance(0.5):
            self._say(self._register.close_named, "answer", kept)
        else:
            self._say(self._register.close, "refine")

    def end_with(self, gap: str) -> None:
        """Let what was said last be followed by this gap; a list still ends in a line break."""
        last = self.said[-1]
        if gap.isspace() and "\n" not in gap and last.text.endswith("\n"):
            return
        self.said[-1] = Said(last.text.rstrip() + gap, last.phase, last.subject, last.verdict, last.names)

    def _chance(self, fraction: float) -> bool:
        return self._draw.random() < fraction

    def _order(self) -> list[int]:
        """Places as they are judged: as given, the kept first, the dropped first, or mixed."""
        places = list(range(len(self._candidates)))
        way = self._draw.choice(("given", "kept", "dropped", "mixed"))
        if way == "mixed":
            self._draw.shuffle(places)
        elif way != "given":
            places.sort(key=lambda place: self._candidates[place].is_kept, reverse=way == "kept")
        return places

    def _list(self, places: Sequence[int]) -> None:
        self._say(self._register.list_lead, "shortlist", gap="\n")
        shapes = (GATHER_ITEMS[0], *self._draw.sample(GATHER_ITEMS[1:], 2))
        for number, place in enumerate(places, 1):
            self._write(self._bullet.format(number) + self._pick(shapes, place), "shortlist", (place,), gap="\n")
        self.end_with("\n\n")

    def _judge_in_list(self, places: Sequence[int]) -> None:
        self.end_with("\n")
        for number, place in enumerate(places, 1):
            is_kept, rival = self._candidates[place].is_kept, self._rival(place)
            items = KEEP_ITEMS if is_kept else DROP_ITEMS if rival is None else DROP_BESIDE_ITEMS
            template = self._bullet.format(number) + self._pick(items, place)
            self._write(template, "refine", (place,), rival, self._verdict(place), "\n")
        self.end_with("\n\n")

    def _judge_in_prose(self, places: Sequence[int]) -> None:
        left = list(places)
        while left:
            if self._chance(self._register.break_frac):
                self.end_with("\n\n")
            if self._chance(0.08):
                self._say(self._register.aside, "refine")
            first = left.pop(0)
            rival = self._rival(first)
            if rival is not None:
                self._judge_beside(first, rival)
            elif left and self._chance(0.25):
                self._judge_pair(first, left.pop(0))
            else:
                self._judge_alone(first)

    def _judge_beside(self, place: int, rival: int) -> None:
        if self._chance(0.2):
            self._say(self._register.overlap, "refine", (place,), rival)
        self._say(self._register.drop_beside, "refine", (place,), rival, self._verdict(place))

    def _judge_pair(self, *places: int) -> None:
        """One sentence, cut where its second clause begins."""
        first, second = (self._candidates[place] for place in places)
        pairs = [
            pair
            for pair in self._register.pairs[first.is_kept, second.is_kept]
            if (first.words or "{words}" not in pair[0]) and (second.words or "{words}" not in pair[1])
        ]
        for clause, place in zip(self._draw.choice(pairs), places, strict=True):
            self._write(clause, "refine", (place,), None, self._verdict(place))

    def _judge_alone(self, place: int) -> None:
        is_kept, register = self._candidates[place].is_kept, self._register
        if self._chance(0.25):
            self._say(register.doubt, "refine", (place,))
            decided = register.keep_it if is_kept else register.drop_it
        else:
            decided = register.keep if is_kept else register.drop
        self._say(decided, "refine", (place,), None, self._verdict(place))

    def _rival(self, place: int) -> int | None:
        """The kept label a dropped one is compared with, which is not always mentioned."""
        candidate = self._candidates[place]
        return None if candidate.is_kept or self._chance(0.2) else candidate.rival

    def _verdict(self, place: int) -> Verdict:
        return "keep" if self._candidates[place].is_kept else "drop"

    def _say(
        self,
        templates: Sequence[str],
        phase: Phase,
        about: Sequence[int] = (),
        rival: int | None = None,
        verdict: Verdict = "none",
        gap: str = " ",
    ) -> None:
        self._write(self._pick(templates, about[0] if about else None), phase, about, rival, verdict, gap)

    def _pick(self, templates: Sequence[str], place: int | None) -> str:
        """A template for which there are words, preferably one that this trace has not used."""
        words = () if place is None else self._candidates[place].words
        usable = [text for text in templates if (words or "{words}" not in text) and (self._title or "{title}" not in text)]
        template = self._draw.choice([text for text in usable if text not in self._used] or usable)
        self._used.add(template)
        return template

    def _write(
        self,
        template: str,
        phase: Phase,
        about: Sequence[int] = (),
        rival: int | None = None,
        verdict: Verdict = "none",
        gap: str = " ",
    ) -> None:
        named = tuple(about) if "{name" in template else ()
        beside = (rival,) if rival is not None and "{rival}" in template else ()
        listed = self._names.several(named) if named else ""
        words = " and ".join(map(self._names.quoted, self._candidates[about[0]].words)) if about else ""
        title = self._names.quoted(self._title)
        against = self._names.one(beside[0]) if beside else ""
        text = template.format(name=listed, names=listed, rival=against, words=words, title=title)
        self.said.append(Said(text + gap, phase, about[0] if verdict != "none" else None, verdict, named + beside))
