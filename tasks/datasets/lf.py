"""LF raw text, the layout of the Extreme Classification Repository: one JSON object a line, labels by line number."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from schemas.tables import CORE_DOCUMENTS, CORE_LABELS, CORE_REJECTS, CORE_RELEVANCE
from tasks.labels.embedder import hash_text, label_text

CHUNK_COUNT = 20_000
"""Documents held at a time."""


@dataclass
class Rejects:
    """What could not be used, collected over one ingest."""

    dataset: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen_count: int = 0

    def add(self, file: str, line: int, reason: str, detail: str, part: str = "") -> None:
        """Note one line, or one part of it, with its reason."""
        key = f"{file}:{line}{':' + part if part else ''}"
        row = {"stage": "ingest", "source_key": key, "dataset": self.dataset, "reject_reason": reason}
        self.rows.append(row | {"detail_text": detail[:300], "source_line": line})

    def frame(self) -> pl.DataFrame:
        """`core_rejects`, each key once."""
        frame = pl.DataFrame(self.rows, schema=CORE_REJECTS.schema)
        return CORE_REJECTS.conform(frame.unique(CORE_REJECTS.key, keep="first", maintain_order=True))


def parse_object(raw: bytes) -> dict[str, Any] | str:
    """The line's JSON object, or what is wrong with it."""
    try:
        value = json.loads(raw)
    except ValueError as exc:
        return f"not JSON ({exc}): {raw[:80]!r}"
    return value if isinstance(value, dict) else f"not a JSON object: {raw[:80]!r}"


def parse_labels(lines: Iterable[bytes], file: str, rejects: Rejects) -> pl.DataFrame:
    """`core_labels`: a label's number is its line, so a bad line leaves a gap and shifts nobody."""
    rows, seen = [], set()
    for line, raw in enumerate(lines):
        rejects.seen_count += 1
        value = parse_object(raw)
        if isinstance(value, str):
            rejects.add(file, line, "broken_line", value)
            continue
        name = str(value.get("title") or "").strip()
        uid = str(value.get("uid") if value.get("uid") is not None else line)
        if not name:
            rejects.add(file, line, "empty_text", f"label {uid!r} has no title")
        elif uid in seen:
            rejects.add(file, line, "duplicate_label", f"uid {uid!r} was on an earlier line")
        else:
            seen.add(uid)
            content = str(value.get("content") or "").strip()
            rows.append((rejects.dataset, line, uid, name, content, hash_text(label_text(name, content))))
    return pl.DataFrame(rows, schema=CORE_LABELS.schema, orient="row")


@dataclass(frozen=True)
class DocumentChunk:
    """Documents of one file with their targets."""

    documents: pl.DataFrame
    relevance: pl.DataFrame


class DocumentReader:
    """Documents of the train and the test file, chunk by chunk; remembers uids, to find repeated ones."""

    def __init__(self, label_ids: Iterable[int], rejects: Rejects) -> None:
        """Take the labels that exist; targets that are none of them become rejects."""
        self._label_ids = frozenset(label_ids)
        self._rejects = rejects
        self._seen: set[str] = set()
        self.lines: dict[str, dict[int, str]] = {"train": {}, "test": {}}

    def read(self, lines: Iterable[bytes], file: str, split: str) -> Iterator[DocumentChunk]:
        """Chunks of `core_documents` and `core_relevance` rows of one file."""
        documents: list[tuple[Any, ...]] = []
        relevance: list[tuple[Any, ...]] = []
        for line, raw in enumerate(lines):
            self._rejects.seen_count += 1
            value = parse_object(raw)
            if isinstance(value, str):
                self._rejects.add(file, line, "broken_line", value)
                continue
            self._take(value, file, split, line, documents, relevance)
            if len(documents) >= CHUNK_COUNT:
                yield self._chunk(documents, relevance)
                documents, relevance = [], []
        yield self._chunk(documents, relevance)

    def _take(
        self,
        value: dict[str, Any],
        file: str,
        split: str,
        line: int,
        documents: list[tuple[Any, ...]],
        relevance: list[tuple[Any, ...]],
    ) -> None:
        uid = str(value["uid"]) if value.get("uid") is not None else f"{split}-{line}"
        title, content = (str(value.get(key) or "").strip() for key in ("title", "content"))
        targets = parse_targets(value)
        text = f"{title}\n{content}" if title and content else title or content
        if isinstance(targets, str):
            self._rejects.add(file, line, "broken_line", targets)
        elif not text:
            self._rejects.add(file, line, "empty_text", f"document {uid!r} has neither title nor content")
        elif uid in self._seen:
            self._rejects.add(file, line, "duplicate_document", f"uid {uid!r} was on an earlier line")
        else:
            self._seen.add(uid)
            self.lines[split][line] = uid
            documents.append((self._rejects.dataset, uid, split, line, title, text, hash_text(text)))
            for label, weight in targets.items():
                self._rejects.seen_count += 1
                if label in self._label_ids:
                    relevance.append((self._rejects.dataset, uid, label, split, weight, False))
                else:
                    detail = f"document {uid!r} names label {label}, which is not in the label file"
                    self._rejects.add(file, line, "unknown_label", detail, f"label {label}")

    def _chunk(self, documents: list[tuple[Any, ...]], relevance: list[tuple[Any, ...]]) -> DocumentChunk:
        return DocumentChunk(
            pl.DataFrame(documents, schema=CORE_DOCUMENTS.schema, orient="row"),
            pl.DataFrame(relevance, schema=CORE_RELEVANCE.schema, orient="row"),
        )


def parse_targets(value: dict[str, Any]) -> dict[int, float] | str:
    """Label number -> relevance (1 where the file does not grade), or what is wrong with them."""
    labels = value.get("target_ind")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        return f"target_ind is not a list of whole numbers: {str(labels)[:80]}"
    grades = value.get("target_rel") or [1.0] * len(labels)
    if len(grades) != len(labels) or not all(isinstance(grade, int | float) for grade in grades):
        return f"target_rel has {len(grades)} entries for {len(labels)} targets, or one that is not a number"
    return dict(zip(labels, map(float, grades), strict=True))


def parse_filters(
    lines: Iterable[bytes], file: str, split: str, documents: dict[int, str], label_ids: frozenset[int], rejects: Rejects
) -> pl.DataFrame:
    """Pairs to leave out, rows `document line, label number`, as `core_relevance` rows with `is_filtered`."""
    rows = []
    for line, raw in enumerate(lines):
        rejects.seen_count += 1
        parts = raw.split()
        if not parts:
            continue
        try:
            document, label = (int(part) for part in parts)
        except ValueError:
            rejects.add(file, line, "broken_line", f"expected two whole numbers, got {raw[:80]!r}")
            continue
        if document not in documents:
            rejects.add(file, line, "unknown_document", f"line {document} of the {split} file is no usable document")
        elif label not in label_ids:
            rejects.add(file, line, "unknown_label", f"label {label} is not in the label file")
        else:
            rows.append((rejects.dataset, documents[document], label, split, 0.0, True))
    return pl.DataFrame(rows, schema=CORE_RELEVANCE.schema, orient="row")


def merge_relevance(targets: pl.DataFrame, filters: pl.DataFrame) -> pl.DataFrame:
    """`core_relevance`: each pair once; a target that is also to be left out is left out and keeps its grade."""
    pairs = pl.concat([targets, filters]).group_by(CORE_RELEVANCE.key, maintain_order=True)
    merged = pairs.agg(pl.col("split").first(), pl.col("relevance").max(), pl.col("is_filtered").any())
    return CORE_RELEVANCE.conform(merged.sort("split", "document_id", "label_id"))
