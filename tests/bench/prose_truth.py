"""What the parser makes of a wording, sentence by sentence and label by label, beside what the wording says it means."""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl

from schemas.tables import RAW_TRACES
from tasks.parsing.linking import MentionLinker
from tasks.parsing.names import normalise
from tasks.parsing.tables import parse_rows
from tests.bench.known_thoughts import LabelSet, ThoughtOn
from tests.bench.wordings.said import Said, Wording

RESAMPLES = 1000
RATIOS = {
    "boundary_exact": ("boundary_exact", "traces"),
    "boundary_within_one": ("boundary_near", "traces"),
    "boundary_at_same_labels": ("boundary_same", "traces"),
    "phase_accuracy": ("phases_right", "phases"),
    "phase_accuracy_all_sentences": ("all_phases_right", "all_phases"),
    "keep_precision": ("keep_right", "keep_parsed"),
    "keep_recall": ("keep_right", "keep_true"),
    "drop_precision": ("drop_right", "drop_parsed"),
    "drop_recall": ("drop_right", "drop_true"),
    "shortlist_precision": ("shortlist_right", "shortlist_parsed"),
    "shortlist_recall": ("shortlist_right", "shortlist_true"),
    "answer_precision": ("answer_right", "answer_parsed"),
    "answer_recall": ("answer_right", "answer_true"),
    "reject_frac": ("rejects", "traces"),
}
"""Each metric as a ratio of two sums over traces; F1 comes from the sums of its verdict."""

READ = ("core_traces", "core_steps", "core_shortlist", "core_answers")
F1 = ("keep", "drop", "shortlist", "answer")


@dataclass(frozen=True)
class Worded:
    """A thought in words, and where they stand: all in one text, or the answer apart from the reasoning.

    A wording that says no answer is reasoning alone; its answer is a plain list apart.
    """

    on: ThoughtOn
    said: list[Said]
    cut: int
    """Characters of reasoning; 0 where all is one text."""

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(one.text for one in self.said)

    def row(self) -> dict[str, Any]:  # a row of `raw_traces`: columns of many types
        """What `raw_traces` holds of it."""
        text = self.text
        answer = text[self.cut :] or "\n".join(f"- {candidate.name}" for candidate in self.on.thought.kept())
        return {"completion_text": answer, "reasoning_text": text[: self.cut] or None, "document_id": self.on.document_id}


@dataclass
class Counted:
    """The sums of one trace."""

    half: str
    sums: dict[str, float] = field(default_factory=dict)


def word_thoughts(thoughts: Iterable[ThoughtOn], wording: Wording) -> list[Worded]:
    """Every thought in words; every other one has its answer apart, and all those that say none."""
    worded = []
    for place, on in enumerate(thoughts):
        said = wording(on.thought, on.title, random.Random(f"truth:{on.document_id}"))
        is_apart = place % 2 == 1 or all(one.phase != "answer" for one in said)
        worded.append(Worded(on, said, _answer_start(said) if is_apart else 0))
    return worded


def _answer_start(said: list[Said]) -> int:
    last = next((at for at in range(len(said), 0, -1) if said[at - 1].phase != "answer"), 0)
    return sum(len(one.text) for one in said[:last])


def count_wording(labels: LabelSet, wording: Wording, linker: MentionLinker) -> list[Counted]:
    """The sums of every trace of one label set."""
    worded = word_thoughts(labels.thoughts, wording)
    tables = parse_rows(_raw(worded), linker)
    parsed = {name: _by_document(tables[name]) for name in READ}
    return [_count(one, {name: parsed[name].get(one.on.document_id, tables[name].clear()) for name in READ}) for one in worded]


def _by_document(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(document_id): rows for (document_id,), rows in table.group_by("document_id", maintain_order=True)}


def _raw(worded: list[Worded]) -> pl.DataFrame:
    plain = {
        "dataset": "truth", "split": "train", "teacher": "t", "endpoint": "e", "prompt_kind": "open", "variant": "both",
        "asked_form": "free", "messages_hash": "m", "sample_index": 0, "finish_reason": "stop", "attempt_count": 1,
    }  # fmt: skip
    rows = [
        dict.fromkeys(RAW_TRACES.columns) | plain | {"request_hash": f"r{place}"} | one.row() for place, one in enumerate(worded)
    ]
    return pl.DataFrame(rows, schema=RAW_TRACES.schema)


def _count(worded: Worded, parsed: dict[str, pl.DataFrame]) -> Counted:
    traces, steps = parsed["core_traces"], parsed["core_steps"]
    sums = {"traces": 1.0, "rejects": float(traces.is_empty())}
    boundary = None if traces.is_empty() else traces["boundary_step"][0]
    sums |= _count_boundary(worded, steps, boundary) | _count_phases(worded, steps) | _count_verdicts(worded, steps)
    kept = {c.label_id for c in worded.on.thought.kept()}
    listed = {c.label_id for c in worded.on.thought.candidates}
    invented = {normalise(c.name) for c in worded.on.thought.candidates if c.label_id is None}
    sums |= _count_labels("shortlist", listed, invented, parsed["core_shortlist"])
    return Counted(worded.on.half, sums | _count_labels("answer", kept, invented, parsed["core_answers"]))


def _starts(worded: Worded) -> list[int]:
    return [0, *accumulate(len(one.text) for one in worded.said)][:-1]


def _spans(worded: Worded, steps: pl.DataFrame) -> Iterator[tuple[int, int, str]]:
    for source, start, end, phase in steps.select("span_source", "char_start", "char_end", "phase").iter_rows():
        offset = worded.cut if source == "completion_text" else 0
        yield start + offset, end + offset, phase


def _count_boundary(worded: Worded, steps: pl.DataFrame, boundary: int | None) -> dict[str, float]:
    if boundary is None:
        return dict.fromkeys(("boundary_exact", "boundary_near", "boundary_same"), 0.0)
    start = list(_spans(worded, steps))[boundary][0]
    parsed = bisect_right(_starts(worded), start) - 1
    true = next(place for place, one in enumerate(worded.said) if one.phase == "refine")
    between = worded.said[min(parsed, true) : max(parsed, true)]
    return {
        "boundary_exact": float(parsed == true),
        "boundary_near": float(abs(parsed - true) <= 1),
        "boundary_same": float(not any(said.names or said.verdict != "none" for said in between)),
    }


def _count_phases(worded: Worded, steps: pl.DataFrame) -> dict[str, float]:
    spans = list(_spans(worded, steps))
    sums = dict.fromkeys(("phases_right", "phases", "all_phases_right", "all_phases"), 0.0)
    for said, start in zip(worded.said, _starts(worded), strict=True):
        end = start + len(said.text.rstrip())
        overlaps = [(min(end, stop) - max(start, begin), phase) for begin, stop, phase in spans]
        overlap, phase = max(overlaps, default=(0, ""), key=lambda pair: pair[0])
        is_right = float(overlap > 0 and phase == said.phase)
        is_weighty = float(bool(said.names) or said.subject is not None)
        sums["phases"] += is_weighty
        sums["phases_right"] += is_weighty * is_right
        sums["all_phases"] += 1
        sums["all_phases_right"] += is_right
    return sums


def _count_verdicts(worded: Worded, steps: pl.DataFrame) -> dict[str, float]:
    candidates = worded.on.thought.candidates
    true = {candidates[s.subject].label_id: s.verdict for s in worded.said if s.subject is not None and s.verdict != "none"}
    parsed = _parsed_verdicts(steps)
    true.pop(None, None)
    parsed.pop(None, None)
    sums: dict[str, float] = {}
    for verdict in ("keep", "drop"):
        said, read = ({label for label, v in of.items() if v == verdict} for of in (true, parsed))
        sums |= {f"{verdict}_right": len(said & read), f"{verdict}_parsed": len(read), f"{verdict}_true": len(said)}
    return sums


def _parsed_verdicts(steps: pl.DataFrame) -> dict[int | None, str]:
    """The last verdict about each label; one a label was only set against counts where there is no other."""
    stated: dict[int | None, str] = {}
    implied: dict[int | None, str] = {}
    for verdict, target, near in steps.select("verdict", "target_label_id", "near_miss_label_id").iter_rows():
        if verdict in ("keep", "drop"):
            stated[near if verdict == "drop" else target] = verdict
            implied[target if verdict == "drop" else near] = "keep" if verdict == "drop" else "drop"
    return implied | stated


def _count_labels(what: str, true: set[int | None], invented: set[str], rows: pl.DataFrame) -> dict[str, float]:
    """Labels found; what is read as no label counts against precision unless an invented label is named so."""
    linked = {label for label in rows["label_id"].to_list() if label is not None}
    unlinked = [text for text, label in rows.select("mention_text", "label_id").iter_rows() if label is None]
    strays = sum(normalise(text) not in invented for text in unlinked)
    known = true - {None}
    return {f"{what}_right": len(linked & known), f"{what}_parsed": len(linked) + strays, f"{what}_true": len(known)}


def summarise(counted: list[Counted], seed: int = 0) -> dict[str, Any]:  # JSON: counts and lists
    """Each metric as value, low and high of its 95% bootstrap interval over traces."""
    names = sorted(counted[0].sums)
    values = np.array([[one.sums[name] for name in names] for one in counted])  # [trace, sum]
    draws = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES)
    totals = np.vstack([values.sum(axis=0), draws @ values])  # [observed and resamples, sum]
    column = {name: totals[:, place] for place, name in enumerate(names)}
    found = {metric: _ratio(column[top], column[bottom]) for metric, (top, bottom) in RATIOS.items()}
    for what in F1:
        right, both = column[f"{what}_right"], column[f"{what}_parsed"] + column[f"{what}_true"]
        found[f"{what}_f1"] = _ratio(2 * right, both)
    return {"traces": len(counted)} | {
        metric: [round(float(x), 4) for x in (v[0], *np.percentile(v[1:], (2.5, 97.5)))] for metric, v in found.items()
    }


def _ratio(top: Any, bottom: Any) -> Any:  # arrays of numpy, which has no type for their length
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
