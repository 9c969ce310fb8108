"""Answers of the stand-in about labels of a dataset in LF layout, as `raw_traces` of any length."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from schemas.tables import RAW_TRACES
from tasks.parsing.names import head_of
from tasks.traces.stand_in.thinking import INVENTED_WORDS, WORDS_PER_STEP, Candidate, Thought
from tasks.traces.stand_in.wording import Writer

SHORTLIST = 10
BESIDE = 30
"""Half of a shortlist are labels so near in the alphabet (`vim`, `vim-gtk`), which share words; the others are any."""

INVENTED_FRAC = 0.02
RIVAL_FRAC = 0.6
"""Share of dropped candidates that are compared with a kept one."""

CHUNK = 1000


def read_labels(folder: Path) -> tuple[list[str], list[str]]:
    """Identifiers and names of the dataset's labels."""
    with gzip.open(folder / "lbl.json.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [row["uid"] for row in rows], [row["title"] for row in rows]


def read_descriptions(folder: Path) -> list[str]:
    """Descriptions of the dataset's labels, in the same order."""
    with gzip.open(folder / "lbl.json.gz", "rt") as file:
        return [json.loads(line)["content"] for line in file]


class Corpus:
    """Draws answers; answer `n` of a seed is the same however many are drawn."""

    def __init__(self, names: list[str], seed: int = 0) -> None:
        """Take the label names; a label's id is its place."""
        self._names = names
        self._seed = seed
        self._order = sorted(range(len(names)), key=lambda label: names[label])
        heads = Counter(head_of(name) or name for name in names)
        self._short = {name: head for name in names if (head := head_of(name)) and heads[head] == 1}

    def frames(self, count: int, answer_format: str = "mixed") -> Iterator[pl.DataFrame]:
        """Rows of `raw_traces`, a thousand at a time."""
        plain = {
            "dataset": "bench", "split": "train", "teacher": "t", "endpoint": "e", "prompt_kind": "open", "variant": "both",
            "asked_form": "json", "messages_hash": "m", "sample_index": 0, "finish_reason": "stop", "attempt_count": 1,
        }  # fmt: skip
        for first in range(0, count, CHUNK):
            rows = [
                dict.fromkeys(RAW_TRACES.columns) | plain | self._answer(place, answer_format)
                for place in range(first, min(first + CHUNK, count))
            ]
            yield pl.DataFrame(rows, schema=RAW_TRACES.schema)

    def _answer(self, place: int, answer_format: str) -> dict[str, str | None]:
        draw = random.Random(f"{self._seed}:{place}")
        thought, title = self._thought(draw), self._names[draw.randrange(len(self._names))]
        reply = Writer(draw, self._short).write(thought, title, answer_format)
        return {
            "request_hash": f"{place:064x}", "document_id": f"d{place}", "completion_text": reply.content,
            "reasoning_text": reply.reasoning,
        }  # fmt: skip

    def _thought(self, draw: random.Random) -> Thought:
        at = draw.randrange(len(self._names) - BESIDE)
        beside = draw.sample(self._order[at : at + BESIDE], SHORTLIST // 2)
        labels = list(dict.fromkeys([*beside, *draw.sample(range(len(self._names)), SHORTLIST - len(beside))]))
        draw.shuffle(labels)
        kept = set(draw.sample(range(len(labels)), draw.choice((2, 3))))
        return Thought(tuple(self._candidate(draw, place, label, kept) for place, label in enumerate(labels)))

    def _candidate(self, draw: random.Random, place: int, label: int, kept: set[int]) -> Candidate:
        is_invented = draw.random() < INVENTED_FRAC
        rival = draw.choice(sorted(kept)) if place not in kept and draw.random() < RIVAL_FRAC else None
        name = self._words(draw, INVENTED_WORDS) if is_invented else (self._names[label],)
        words = self._words(draw, WORDS_PER_STEP)
        return Candidate(None if is_invented else label, " ".join(name), draw.random(), place in kept, rival, words)

    def _words(self, draw: random.Random, count: int) -> tuple[str, ...]:
        names = (self._names[draw.randrange(len(self._names))] for _ in range(count))
        return tuple(draw.choice(name.split()).strip(".,:;()") or "it" for name in names)
