"""Raw traces to the five tables, part by part: read by one or many processes, then linked in order by one."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field

import polars as pl

from schemas.errors import InputFormatError
from tasks.parsing.linking import MentionLinker
from tasks.parsing.names import Catalogue
from tasks.parsing.rows import READ_COLUMNS, WRITTEN, Frames, linked_frames
from tasks.parsing.workers import read_parts

BATCH_ROWS = 512
"""Rows of one part: what is held in memory at once, some 50 KB each while they are drafts. It also decides which unknown texts
are embedded together, so it is no setting: the last digits of a cosine hang on it."""


@dataclass(frozen=True)
class ParsedTables:
    """The tables of one parse, by name."""

    frames: dict[str, pl.DataFrame]

    def __getitem__(self, table: str) -> pl.DataFrame:
        return self.frames[table]


@dataclass
class RejectCount:
    """How many raw traces were parsed, and how many of them rejected for which reason; `example`: what the first one says."""

    row_count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def add(self, row_count: int, rejects: pl.DataFrame) -> None:
        """Count one part and its rows of `core_rejects`."""
        self.row_count += row_count
        if not self.reasons and len(rejects):
            self.example = rejects["detail_text"][0]
        self.reasons.update(rejects["reject_reason"])


def parse_rows(raw: pl.DataFrame, linker: MentionLinker) -> ParsedTables:
    """Every row of `raw_traces` in exactly one of `core_traces` and `core_rejects`, with the rows that belong to it."""
    parts = [*parse_parts(raw.iter_slices(BATCH_ROWS), linker.catalogue, lambda: linker, RejectCount())]
    return ParsedTables({t.name: pl.concat([part[t.name] for part in parts]) if parts else t.empty() for t in WRITTEN})


def parse_parts(
    raws: Iterable[pl.DataFrame],
    catalogue: Catalogue,
    open_linker: Callable[[], MentionLinker],
    count: RejectCount,
    process_count: int = 1,
) -> Generator[Frames]:
    """The five tables, one part of `raw_traces` after the other, and at the same time the counts.

    The costly rungs run here, not in the processes that read: then the trigram index and the sentence model are loaded once,
    and a part's unknown texts are embedded together.

    Args:
        raws: parts of `raw_traces`.
        catalogue: the labels by name.
        open_linker: called once a part, for a linker remembers every text.
        count: grows with every part that is given.
        process_count: 1: all is done in this process.

    Raises:
        WorkerLostError: a process was ended from outside.
    """
    with closing(read_parts((raw.select(READ_COLUMNS) for raw in raws), catalogue, process_count)) as parts:
        for part in parts:
            texts = dict.fromkeys(text for one in part.unlinked for text in one.texts)
            frames = linked_frames(part, open_linker().link(texts) if texts else {})
            count.add(len(part.ids), frames["core_rejects"])
            yield frames


def refuse_many_rejects(count: RejectCount, max_reject_frac: float) -> None:
    """Stop when too many rows could not be used.

    Raises:
        InputFormatError: names the counts by reason and the limit.
    """
    rejected = count.reasons.total()
    if not count.row_count or rejected / count.row_count <= max_reject_frac:
        return
    counts = sorted(count.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{reason} {reason_count}" for reason, reason_count in counts)
    raise InputFormatError(
        f"raw_traces: {rejected} of {count.row_count} rejected ({rejected / count.row_count:.3f} > parse.max_reject_frac "
        f"{max_reject_frac}): {reasons}; e.g. {count.example!r}; mend the prompt or raise the limit"
    )
