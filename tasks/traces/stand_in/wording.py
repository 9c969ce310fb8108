"""The stand-in's words: one thought written as prose, JSON or tagged text, with labels named as loosely as models do."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.fields import ANSWER_FORMATS
from tasks.traces.stand_in.thinking import Candidate, Thought

SAME_FORM = 0.85
"""Chance that a later mention of a label keeps the form of the trace."""

OPENINGS = (
    "Okay, the document is about {title}. Let me first collect labels that could fit.",
    "The text describes {title}. Which labels come to mind?",
    "First a broad list. The document is on {title}, so these are worth a look:",
    "Let me think about what belongs to {title}. Possible labels:",
)
TURNS = (
    "Now I go through them one at a time.",
    "Let me check each of these against the text.",
    "Next I narrow this down, one candidate after the other.",
    "That is broad. I will now look at every candidate more closely.",
)
KEEPS = (
    "{label}: the text speaks of {words}, so I keep it.",
    "{label} fits, because the document mentions {words}. Keep.",
    "What about {label}? The words {words} point to it. I keep this one.",
    "{label} looks right: the words {words} support it. Keep it.",
)
DROPS = (
    "{label}: apart from the words {words} nothing speaks for it, so I drop it.",
    "{label} does not fit, the document speaks of {words}. Drop.",
    "What about {label}? The words {words} point elsewhere. I drop this one.",
    "{label} seemed possible, but the words {words} speak against it. Drop it.",
)
COMPARISONS = (
    "{rival} rather than {label}: the words {words} speak for the first, so {label} is out.",
    "{label} is close to {rival}, but the words {words} point to {rival}. Drop it.",
    "{label}: similar to {rival}, yet the text speaks of {words}, which fits {rival} better. Drop.",
    "Between {rival} and {label}, the words {words} decide for {rival}, so {label} is out.",
)
CLOSINGS = (
    "That settles it.",
    "So these remain, ordered by how sure I am.",
    "I have my answer.",
)
REASONS = {"keep": "the text speaks of {words}", "drop": "{words} point elsewhere", "compare": "{words} fit {rival} better"}
PARTS = {"both": ("shortlist", "steps", "answer"), "phase-1": ("shortlist",), "phase-2": ("steps", "answer")}
REFUSALS = (
    "I'm sorry, but I can't help with labelling this document.",
    "I'm unable to assist with that request.",
)


@dataclass(frozen=True)
class Reply:
    """The message of one answer; `reasoning` is null unless the format keeps it apart."""

    content: str
    reasoning: str | None = None
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Style:
    """What an answer holds and how it names labels: `phases` as a prompt asks for them."""

    phases: str = "both"
    is_closed: bool = False
    """Labels are written with their number, as listed."""
    is_given: bool = False
    """Labels are written as the given shortlist names them."""
    has_ids: bool = False
    """JSON names labels by number alone, as a schema of offered labels wants it."""


class Writer:
    """Writes one thought; mentions are drawn from the forms a model might use."""

    def __init__(self, draw: random.Random, short_names: Mapping[str, str], style: Style = Style()) -> None:
        """Prepare for one answer."""
        self._draw = draw
        self._short_names = short_names
        self._style = style
        self._form = self._draw_form()

    def write(self, thought: Thought, title: str, answer_format: str) -> Reply:
        """The thought in one of the answer formats; `mixed` draws one."""
        chosen = self._draw.choice(ANSWER_FORMATS) if answer_format == "mixed" else answer_format
        if chosen == "json":
            return Reply(self._json(thought))
        return Reply(self._tagged(thought)) if chosen == "tagged" else self._prose(thought, title)

    def _draw_form(self) -> str:
        return self._draw.choices(("full", "short", "altered"), (0.6, 0.3, 0.1))[0]

    def _mention(self, candidate: Candidate) -> str:
        if self._style.is_closed and candidate.label_id is not None:
            return f"[{candidate.label_id}] {candidate.name}"
        if self._style.is_given:
            return candidate.name
        form = self._form if self._draw.random() < SAME_FORM else self._draw_form()
        if form == "short":
            return self._short_names.get(candidate.name, candidate.name)
        return self._altered(candidate.name) if form == "altered" else candidate.name

    def _altered(self, name: str) -> str:
        change = self._draw.randrange(3)
        if change == 0:
            return name.lower()
        return name.replace(": ", " - ", 1) if change == 1 else name[:1].upper() + name[1:].rstrip(".")

    def _words(self, candidate: Candidate) -> str:
        return " and ".join(_quoted(word) for word in candidate.words) or "of its topic"

    def _step(self, thought: Thought, candidate: Candidate, is_quoted: bool) -> str:
        label, words = self._mention(candidate), self._words(candidate)
        rival = self._mention(thought.candidates[candidate.rival]) if candidate.rival is not None else ""
        if is_quoted:
            label, rival = _quoted(label), _quoted(rival)
        templates = KEEPS if candidate.is_kept else DROPS if candidate.rival is None else COMPARISONS
        return self._draw.choice(templates).format(label=label, rival=rival, words=words)

    def _prose(self, thought: Thought, title: str) -> Reply:
        is_quoted = self._draw.random() < 0.5
        opening = self._draw.choice(OPENINGS).format(title=title.strip().rstrip(".") or "one thing")
        steps = [self._step(thought, candidate, is_quoted) for candidate in thought.candidates]
        bullet = self._draw.choice(("", "- "))
        parts = {
            "both": [opening, self._listed(thought), self._draw.choice(TURNS), *steps, self._draw.choice(CLOSINGS)],
            "phase-1": [opening, self._listed(thought)],
            "phase-2": [self._draw.choice(TURNS), *steps, self._draw.choice(CLOSINGS)],
        }[self._style.phases]
        final = thought.candidates if self._style.phases == "phase-1" else thought.kept()
        return Reply("\n".join(bullet + self._mention(candidate) for candidate in final), "\n\n".join(parts))

    def _listed(self, thought: Thought) -> str:
        mentions = [self._mention(candidate) for candidate in thought.candidates]
        layout = self._draw.randrange(3)
        if layout == 0:
            return "\n".join(f"- {mention}" for mention in mentions)
        if layout == 1:
            return "\n".join(f"{place}. {mention}" for place, mention in enumerate(mentions, start=1))
        return "Candidates: " + ", ".join(_quoted(mention) for mention in mentions) + "."

    def _json(self, thought: Thought) -> str:
        content = {
            "shortlist": [self._named(candidate) for candidate in thought.candidates],
            "steps": [self._json_step(thought, candidate) for candidate in thought.candidates],
            "answer": [
                self._named(candidate) | {"confidence": round(0.5 + candidate.relevance / 2, 2)} for candidate in thought.kept()
            ],
        }
        parts = {part: content[part] for part in PARTS[self._style.phases]}
        return indented(parts) if self._draw.choice((None, 2)) else json.dumps(parts, ensure_ascii=False)

    def _named(self, candidate: Candidate) -> dict[str, Any]:  # a JSON object: each key has its own type
        return {"id": candidate.label_id} if self._style.has_ids else {"label": self._mention(candidate)}

    def _json_step(self, thought: Thought, candidate: Candidate) -> dict[str, Any]:  # as above
        verdict = "keep" if candidate.is_kept else "drop"
        rival = None if candidate.rival is None else thought.candidates[candidate.rival]
        compared = None if rival is None else rival.label_id if self._style.has_ids else self._mention(rival)
        named = compared if rival is None or not self._style.has_ids else rival.name
        reason = REASONS[verdict if rival is None else "compare"].format(words=self._words(candidate), rival=named)
        return self._named(candidate) | {"verdict": verdict, "compared_to": compared, "reason": reason}

    def _tagged(self, thought: Thought) -> str:
        shortlist = "\n".join(self._mention(candidate) for candidate in thought.candidates)
        steps = "\n".join(f"<step>{self._step(thought, candidate, False)}</step>" for candidate in thought.candidates)
        answer = "\n".join(self._mention(candidate) for candidate in thought.kept())
        texts = {
            "shortlist": f"<shortlist>\n{shortlist}\n</shortlist>",
            "steps": f"<reasoning>\n{steps}\n</reasoning>",
            "answer": f"<answer>\n{answer}\n</answer>",
        }
        return "\n".join(texts[part] for part in PARTS[self._style.phases])


_INDENTED = json.JSONEncoder(ensure_ascii=False, separators=(",\n      ", ": "))


def indented(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:  # as above
    """Lists of flat objects as `json.dumps(parts, indent=2)` writes them, which does so in Python and takes thrice as long."""
    lists = []
    for part, items in parts.items():
        texts = ",\n".join(f"    {{\n      {_INDENTED.encode(item)[1:-1]}\n    }}" for item in items)
        lists.append(f'  "{part}": [\n{texts}\n  ]' if items else f'  "{part}": []')
    return "{\n" + ",\n".join(lists) + "\n}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def refusal(draw: random.Random) -> Reply:
    """A polite refusal in prose."""
    return Reply(draw.choice(REFUSALS))


def cut_reply(reply: Reply, char_count: int) -> Reply:
    """The reply as it stands after so many characters, reasoning first."""
    reasoning = None if reply.reasoning is None else reply.reasoning[:char_count]
    content = reply.content[: max(0, char_count - len(reasoning or ""))]
    return Reply(content, reasoning, "length")
