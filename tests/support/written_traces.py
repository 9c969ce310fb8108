"""A trace as the tables hold it, cut from a text so that every span is right."""

from collections.abc import Sequence

from tasks.sequences.traces import Place, Step, Trace

SAID = tuple[str, str, str, int | None, int | None]
"""Phase, verdict, text, target, near miss."""

NAMES = {
    1: "vim: an editor",
    2: "vim-gtk: an editor with windows",
    3: "gimp: edits images",
    4: "nano: small editor",
}
DOCUMENT = "Plugins for Vim\nHighlighting of Python code, folding and \u00dcber-fast searching in buffers."

STEPS: tuple[SAID, ...] = (
    ("shortlist", "none", "vim: an editor", 1, None),
    ("shortlist", "none", "vim-gtk: an editor with windows", 2, None),
    ("shortlist", "none", "gimp", 3, None),
    ("shortlist", "none", "some stranger", None, None),
    ("refine", "keep", 'vim: an editor fits, the text speaks of "highlighting" and "buffers". Keep.', 1, None),
    ("refine", "drop", 'vim-gtk: nothing about windows, "python" speaks for vim. Drop.', 1, 2),
    ("refine", "drop", "gimp does not fit, \u201c\u00fcber\u201d and \u201cpixels\u201d say nothing.", None, 3),
    ("refine", "drop", "Drop it, whatever folding is.", None, 3),
    ("refine", "none", "That settles it.", None, None),
)


def make_trace(
    said: Sequence[SAID] = STEPS, answers: Sequence[int] = (1,), trace_id: str = "t1", document_id: str = "d1"
) -> tuple[Trace, str]:
    """A trace of these steps and its reasoning text, a line a step; its shortlist is what the shortlist steps name."""
    at, steps = 0, []
    for number, (phase, verdict, text, target, near) in enumerate(said):
        position = number / max(len(said) - 1, 1)
        steps.append(Step(number, position, phase, verdict, text, target, near, "reasoning_text", at, at + len(text)))
        at += len(text) + 1
    shortlist = [Place(s.target_label_id, s.text, s.source, s.start, s.end) for s in steps if s.phase == "shortlist"]
    final = tuple(Place(label, NAMES[label], "completion_text", 0, len(NAMES[label])) for label in answers)
    return Trace(trace_id, document_id, "train", tuple(shortlist), tuple(steps), final), "\n".join(s.text for s in steps)


def first_of(target: int, candidates: Sequence[int]) -> int:
    """Stands for the nearest label: the first candidate."""
    return candidates[0]
