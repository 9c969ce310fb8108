"""Thinking aloud, as reasoning models do: first person, doubts, second thoughts, pronouns, verdicts by implication, no lists.

`{a}` is the label a sentence is about, `{b}` another, `{r}` the kept one it is compared with, `{w}` words of the document.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.traces.stand_in.thinking import Thought
from tests.bench.wordings.naming import Names, words_of
from tests.bench.wordings.said import Phase, Said, Verdict

OPENINGS = (
    "Okay, so I need to figure out which labels go with this document about {t}. ",
    "Alright, let's see. We have a text on {t}. I'm supposed to pick the right tags for it. ",
    "Hmm, the document is titled {t}. Let me read it again to understand what it's really about. ",
    "So the user gave me something on {t} and wants to know what it belongs with. ",
    "First, I should get a feel for the text. It's about {t}, mostly. ",
    "Let me start by understanding what we're dealing with here: {t}. ",
    "The user wants labels for a description of {t}. Okay. ",
    "Okay, {t}. What would someone who reads this want to find next to it? ",
)
RAISED = (
    "First thing that comes to mind is {a}. ",
    "{a} could be something to consider. ",
    "Hmm, what about {a}? ",
    "There's also {a}, I guess. ",
    "I also recall {a}, which is in the same area. ",
    "Oh, and {a}. ",
    "Another possibility is {a}. ",
    "Maybe {a} too? ",
    "It mentions {w}, which makes me think of {a}. ",
    "Wait, there is {a} as well. ",
    "I wonder about {a}. ",
    "Then I'm thinking of {a}. ",
)
RAISED_TWO = (
    "Possibly {a} or {b}. ",
    "I can think of {a} and maybe {b}. ",
    "Then there are {a} and {b}, which might be related. ",
    "Something like {a}, or perhaps {b}? ",
    "{a} comes up too, along with {b}. ",
    "Also {a}, {b}. ",
    "Other things in the neighbourhood would be {a} and {b}. ",
    "People who use that would know {a} and also {b}, I suppose. ",
)
ASIDES = (
    "Hmm, let me think. ",
    "I'm not sure yet. ",
    "Not obvious. ",
    "Let me keep going. ",
    "That's about all I can come up with from the first half. ",
    "What else? ",
    "Okay. ",
    "There might be more. ",
)
TURNS = (
    "Okay, let me go back over these and see which ones hold up. ",
    "Hmm, that's quite a few, so I had better weigh them against the text. ",
    "Now, which of those actually apply? ",
    "Alright, now I have to be more careful. ",
    "But not all of that can be right, so let me look closer. ",
    "Let me double-check against the description. ",
    "Now let's go deeper. ",
    "Let me take them in turn. ",
    "Okay, time to be picky. ",
)
KEEPS = (
    "So {a}... the text literally says {w}, that's a clear match. ",
    "I'm fairly confident about {a}, since {w} is all over the place. ",
    "As for {a}, yeah, {w} is basically what it does. ",
    "{a} makes sense because of {w}. ",
    "{a} is definitely relevant here, given {w}. ",
    "I think {a} belongs, as it talks about {w}. ",
    "With {w} in there, {a} has to be one of them. ",
    "{a} seems like a solid choice: {w} is right there. ",
    "Given {w}, I'd go with {a}. ",
    "And {a}, sure, that one is spot on with {w}. ",
    "{a} is a natural fit. ",
    "{w} pretty much describes {a}, so that stays. ",
)
KEEPS_LATER = (
    ("What about {a}? ", "It says {w}, so yes, that works. "),
    ("Let's see {a}. ", "The description has {w}. ", "Yeah, that should be in there. "),
    ("Then {a}. ", "Hmm, is it? ", "It does mention {w}, so I'd include it. "),
    ("Now {a}. ", "At first I doubted it, but {w} convinces me. "),
    ("Is {a} right? ", "I believe so, it's about {w} after all. "),
    ("Looking at {a}. ", "That matches {w} well. "),
    ("Wait, {a}. ", "Actually yes, that one is good because of {w}. "),
    ("Coming back to {a}. ", "On reflection, {w} does point there, so I'm adding it. "),
)
DROPS = (
    "{a}, on the other hand, is about something else entirely, so that's out. ",
    "{a} is a stretch, honestly. ",
    "I don't see anything about {a} in there. ",
    "{a} probably isn't needed. ",
    "I was tempted by {a}, but {w} has nothing to do with it. ",
    "{a} doesn't really apply since the text is about {w}. ",
    "{a} feels too far off. ",
    "I'd leave {a} aside. ",
    "{a}? No, that's a different thing. ",
    "Hmm, {a} seems too specific for this. ",
    "The text never touches on {a}. ",
    "{a} can be ruled out because of {w}. ",
    "I'm not convinced by {a}. ",
)
DROPS_LATER = (
    ("What about {a}? ", "Nothing here talks about that, though. "),
    ("Then {a}. ", "Hmm, it's about {w}, so probably not. "),
    ("Let's see {a}. ", "That's more for other purposes. ", "I'll skip it. "),
    ("Is {a} right? ", "No, I don't think so. "),
    ("Now {a}. ", "It would have to say more than {w} for that. ", "So no. "),
    ("Wait, {a}. ", "That is only loosely connected, so it doesn't make the cut. "),
    ("Looking at {a}. ", "Could be, but I can't justify it from {w}. "),
    ("Hmm, {a}. ", "On second thought that's irrelevant. "),
)
DROPS_ALSO = (
    "{a} is off topic, ", "so is {b}. ",
    "{a} isn't it, ", "and neither is {b}. ",
    "Same goes for {a}, which is unrelated, ", "and {b} is too general. ",
    "Not {a}, ", "and not {b} either. ",
    "I can't defend {a}, ", "nor {b}. ",
    "{a} would be wrong, ", "just like {b}. ",
    "{a} has no basis in the text, ", "and {b} has even less. ",
    "I'd scratch {a} ", "and {b} as well. ",
)  # fmt: skip
COMPARISONS = (
    "Between {r} and {a}, the former covers {w} better, so there is no need for {a}. ",
    "{a} overlaps with {r}, but {w} tips it towards {r}. ",
    "{a} is similar, but {r} is more to the point. ",
    "Since {r} already captures {w}, {a} would be redundant. ",
    "I'd rather have {r} than {a} here. ",
    "{r} describes {w} more precisely than {a} does, so {a} goes. ",
    "It could be {a}, but {w} sounds much more like {r}. ",
    "Compared to {r}, {a} is the weaker option. ",
    "{a} is easily confused with {r}, yet the text means the latter. ",
)
DOUBTS = (
    "Hmm, am I sure? ",
    "Let me reread that part. ",
    "Wait, no, I think that's right. ",
    "Okay, moving on. ",
    "The description is a bit vague there. ",
    "I might be overthinking this. ",
    "That part was easy. ",
    "Let me make sure I'm not missing something. ",
)
RECALLED = (
    "I'm still unsure about {a}, I'll return to that. ",
    "{a} is trickier, let me hold that thought. ",
    "Hmm, {a}, not sure yet. ",
    "I keep going back and forth on {a}. ",
)
CONCLUSIONS = (
    ("So, putting it all together, I'd go with ", "."),
    ("So I'm left with ", "."),
    ("I think the best set is ", "."),
    ("Overall that gives ", "."),
    ("Okay, so my picks are ", "."),
    ("To sum up: ", "."),
    ("Therefore the answer should be ", "."),
    ("Alright, I'm settling on ", "."),
)
FINALS = (
    "The document is best described by the following labels: ",
    "Final answer: ",
    "**Answer:** ",
    "Based on the text, the labels are ",
    "The most fitting labels are ",
    "These labels apply: ",
    "Here is what I would assign: ",
    "My answer: ",
)


@dataclass(frozen=True)
class Aloud:
    """One trace being said: its names, its thought and its draw."""

    thought: Thought
    names: Names
    draw: random.Random

    def say(self, template: str, phase: Phase, place: int, other: int | None, verdict: Verdict = "none") -> Said:
        """The template filled; decided about is its `{a}`, or, where it has none, the label spoken of."""
        fields = {"a": place, "b": other, "r": other}
        named = [at for key, at in fields.items() if at is not None and f"{{{key}}}" in template]
        filled = {key: "" if at is None else self.names[at] for key, at in fields.items()}
        text = template.format(w=words_of(self.thought.candidates[place].words), **filled)
        named = sorted(set(named), key=lambda at: text.find(self.names[at]))
        return Said(_capital(text), phase, None if verdict == "none" else place, verdict, tuple(named))

    def aside(self, among: tuple[str, ...], phase: Phase, rate: float) -> Iterator[Said]:
        """Now and then a sentence that names nothing."""
        if self.draw.random() < rate:
            yield Said(self.draw.choice(among), phase)


def rambling(thought: Thought, title: str, draw: random.Random) -> list[Said]:
    """Labels come up, are gone through in some other order, some twice; then a conclusion and the answer."""
    aloud = Aloud(thought, Names(thought, draw, whole_frac=0.3), draw)
    opening = Said(draw.choice(OPENINGS).format(t=title.strip().rstrip(".") or "something"), "shortlist")
    raised = list(_raised(aloud))
    turn = Said(draw.choice(TURNS), "refine")
    return [opening, *_broken(raised), turn, *_broken(list(_weighed(aloud))), *_concluded(aloud)]


def _raised(aloud: Aloud) -> Iterator[Said]:
    places = list(range(len(aloud.thought.candidates)))
    while places:
        place = places.pop(0)
        if places and aloud.draw.random() < 0.4:
            yield aloud.say(aloud.draw.choice(RAISED_TWO), "shortlist", place, places.pop(0))
        else:
            yield aloud.say(aloud.draw.choice(RAISED), "shortlist", place, None)
        yield from aloud.aside(ASIDES, "shortlist", 0.2)


def _weighed(aloud: Aloud) -> Iterator[Said]:
    candidates = aloud.thought.candidates
    order = list(range(len(candidates)))
    if aloud.draw.random() < 0.5:
        aloud.draw.shuffle(order)
    while order:
        place = order.pop(0)
        if order and aloud.draw.random() < 0.1:
            yield aloud.say(aloud.draw.choice(RECALLED), "refine", place, None)
            order.append(place)
            continue
        if order and _is_plain_drop(aloud, place) and _is_plain_drop(aloud, order[0]) and aloud.draw.random() < 0.6:
            yield from _both_dropped(aloud, place, order.pop(0))
        else:
            yield from _judged(aloud, place)
        yield from aloud.aside(DOUBTS, "refine", 0.15)


def _is_plain_drop(aloud: Aloud, place: int) -> bool:
    candidate = aloud.thought.candidates[place]
    return not candidate.is_kept and candidate.rival is None


def _both_dropped(aloud: Aloud, first: int, second: int) -> Iterator[Said]:
    at = 2 * aloud.draw.randrange(len(DROPS_ALSO) // 2)
    yield aloud.say(DROPS_ALSO[at], "refine", first, None, "drop")
    said = aloud.say(DROPS_ALSO[at + 1].replace("{b}", "{a}"), "refine", second, None, "drop")
    yield Said(said.text[:1].lower() + said.text[1:], said.phase, said.subject, said.verdict, said.names)


def _judged(aloud: Aloud, place: int) -> Iterator[Said]:
    candidate = aloud.thought.candidates[place]
    verdict: Verdict = "keep" if candidate.is_kept else "drop"
    if candidate.rival is not None:
        yield aloud.say(aloud.draw.choice(COMPARISONS), "refine", place, candidate.rival, verdict)
    elif aloud.draw.random() < 0.65:
        yield aloud.say(aloud.draw.choice(KEEPS if candidate.is_kept else DROPS), "refine", place, None, verdict)
    else:
        *before, last = aloud.draw.choice(KEEPS_LATER if candidate.is_kept else DROPS_LATER)
        for template in before:
            yield aloud.say(template, "refine", place, None)
        yield aloud.say(last, "refine", place, None, verdict)


def _concluded(aloud: Aloud) -> Iterator[Said]:
    kept = [place for place, candidate in enumerate(aloud.thought.candidates) if candidate.is_kept]
    if aloud.draw.random() < 0.6:
        before, after = aloud.draw.choice(CONCLUSIONS)
        yield Said(f"{before}{_enumerated([aloud.names[place] for place in kept])}{after}\n\n", "answer", names=tuple(kept))
    lead = aloud.draw.choice(FINALS)
    if aloud.draw.random() < 0.5:
        yield Said(f"{lead}{_enumerated([aloud.names[place] for place in kept])}.", "answer", names=tuple(kept))
    else:
        yield Said(f"{lead.rstrip()}\n", "answer")
        yield from (Said(f"{aloud.names[place]}\n", "answer", names=(place,)) for place in kept)


def _enumerated(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none of them"


def _broken(said: list[Said]) -> list[Said]:
    """Paragraphs of some four sentences; what belongs to one candidate stays together."""
    broken, since = [], 0
    for at, one in enumerate(said):
        since += 1
        is_whole = one.phase == "shortlist" or one.verdict != "none"
        is_end = at == len(said) - 1 or (since >= 4 and is_whole and one.text.endswith((". ", "? ")))
        since = 0 if is_end else since
        text = f"{one.text.rstrip()}\n\n" if is_end else one.text
        broken.append(Said(text, one.phase, one.subject, one.verdict, one.names))
    return broken


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:1] in "abcdefghijklmnopqrstuvwxyz" and text[1:2] == " " else text
