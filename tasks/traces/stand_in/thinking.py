"""The stand-in's thinking: a shortlist, a verdict for each candidate with words of the document, and what is kept.

For a training document it knows, most targets and their relations decide; for any other document retrieval alone does.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.config import StandInConfig
from tasks.labels.embedder import hash_text
from tasks.labels.fusion import RRF_K, fuse_rankings
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import NO_LABEL, LabelIndex
from tasks.traces.questions import find_by_name
from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors, unique_words

Vectors = NDArray[np.float32]

RETRIEVED = 100
"""Candidates each of the two retrievers gives before they are fused."""

KEEP_MARGIN = 0.85
"""An unknown document's candidate is kept if its fused score is at least so large a part of the best one's."""

MIN_NEAR_MISSES = 2
RIVAL_COSINE = 0.4
"""A dropped label is compared with a kept one that it is related to, or that is at least so near."""

WORDS_PER_STEP = 2
INVENTED_WORDS = 4


@dataclass(frozen=True)
class Question:
    """A document, and the label ids it may choose from, or a shortlist it is given, by name or label id; null: any."""

    text: str
    offered: tuple[int, ...] | None
    given: tuple[str | int, ...] | None = None


@dataclass(frozen=True)
class Known:
    """What the stand-in knows of a training document: its targets, and labels it must not be asked for."""

    targets: tuple[int, ...]
    left_out: frozenset[int]


def known_documents(targets: pl.DataFrame) -> dict[str, Known]:
    """What is told of training documents (text_hash, label_id, is_filtered), by text hash."""
    target, left_out = (pl.col("label_id").filter(is_wanted) for is_wanted in (~pl.col("is_filtered"), pl.col("is_filtered")))
    told = targets.group_by("text_hash").agg(target=target, left_out=left_out)
    return {text_hash: Known(tuple(sorted(ids)), frozenset(others)) for text_hash, ids, others in told.iter_rows()}


@dataclass(frozen=True)
class Candidate:
    """One shortlisted label after refinement; `label_id` is null for a label that does not exist.

    `relevance` lies in 0..1; `rival` is the place of the kept candidate it was compared with; `words` are of the document.
    """

    label_id: int | None
    name: str
    relevance: float
    is_kept: bool
    rival: int | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thought:
    """A shortlist in order of relevance, or as it was given, each candidate with its verdict."""

    candidates: tuple[Candidate, ...]

    def kept(self) -> list[Candidate]:
        """The final labels, best first."""
        return [candidate for candidate in self.candidates if candidate.is_kept]


@dataclass(frozen=True)
class Draft:
    """A candidate before refinement, by row of the label index."""

    row: int
    relevance: float
    is_kept: bool


class StandIn:
    """Answers questions about documents; the same seed and document give the same thought."""

    def __init__(
        self,
        index: LabelIndex,
        names: Sequence[str],
        lexical: LexicalIndex,
        graph: LabelGraph,
        words: WordVectors,
        known: Mapping[str, Known],
        embed: Callable[[Sequence[str]], Vectors],
        config: StandInConfig,
    ) -> None:
        """Take what it knows; `names` and `graph` go by the rows of `index`, `known` by text hash and label id."""
        self._index = index
        self.names = names
        self._lexical = lexical
        self._graph = graph
        self._words = words
        self._known = known
        self._embed = embed
        self._config = config
        self._row_of = {label_id: row for row, label_id in enumerate(index.label_ids.tolist())}
        self._taken = {name.lower() for name in names}
        self._row_of_name = find_by_name(dict(enumerate(names)))

    def think(self, questions: Sequence[Question]) -> list[Thought]:
        """One thought a question, in order."""
        texts = [question.text for question in questions]
        ranking = fuse_rankings(
            [self._lexical.search(texts, RETRIEVED), self._index.search(self._embed(texts), RETRIEVED)], RETRIEVED
        )
        thoughts = []
        for question, labels, scores in zip(questions, ranking.label_ids.tolist(), ranking.scores.tolist(), strict=True):
            best = 2 / (RRF_K + 1)
            found = {self._row_of[i]: score / best for i, score in zip(labels, scores, strict=True) if i != NO_LABEL}
            thoughts.append(self._think_one(question, found))
        return thoughts

    def _think_one(self, question: Question, found: dict[int, float]) -> Thought:
        text_hash = hash_text(question.text)
        draw = random.Random(f"{self._config.seed}:{text_hash}")
        known = self._known.get(text_hash)
        if question.given is not None:
            return self._judge_given(question, known, found, draw)
        if question.offered is not None:
            offered = [self._row_of[i] for i in question.offered if i in self._row_of]
            found = {row: found.get(row, 0.0) for row in sorted(offered, key=lambda row: -found.get(row, 0.0))}
        drafts = self._recall(known, found, question.offered is not None, draw) if known else self._guess(found)
        return self._refine(drafts, question, known is not None, draw)

    def _judge_given(self, question: Question, known: Known | None, found: dict[int, float], draw: random.Random) -> Thought:
        """A verdict on every label of a given shortlist, in its order; a name of no label is no label, and dropped."""
        given = list(dict.fromkeys(question.given or ()))
        rows = {label: row for label in given if (row := self._row_of_given(label)) is not None}
        judged = self._refine(self._judge(list(rows.values()), known, found, draw), question, known is not None, draw).candidates
        by_label = dict(zip(rows, judged, strict=True))
        listed = [label for label in given if label in rows or isinstance(label, str)]  # nobody knows what a number names
        places = [listed.index(label) for label in rows]
        words = tuple(unique_words(question.text, as_written=True)[:WORDS_PER_STEP])
        candidates = []
        for label in listed:
            candidate = by_label.get(label, Candidate(None, str(label), 0.0, False, None, words))
            rival = None if candidate.rival is None else places[candidate.rival]
            candidates.append(replace(candidate, name=label if isinstance(label, str) else candidate.name, rival=rival))
        return Thought(tuple(candidates))

    def _row_of_given(self, label: str | int) -> int | None:
        if isinstance(label, int):
            return self._row_of.get(label)
        return self._row_of_name.get(" ".join(label.split()).casefold())

    def _judge(self, rows: Sequence[int], known: Known | None, found: dict[int, float], draw: random.Random) -> list[Draft]:
        """Targets that are not missed are kept; in an unknown document what is retrieved about as well as the best."""
        best = max((found.get(row, 0.0) for row in rows), default=0.0)
        targets = {self._row_of[i] for i in known.targets} if known else set()
        drafts = []
        for row in rows:
            score = found.get(row, 0.0)
            is_target = row in targets and draw.random() >= self._config.miss_rate
            is_kept = is_target if known else 0 < score >= KEEP_MARGIN * best
            is_flipped = known is not None and draw.random() < self._config.flip_rate
            drafts.append(Draft(row, (1.0 + score) / 2 if is_target else score, is_kept != is_flipped))
        return drafts

    def _recall(self, known: Known, found: dict[int, float], is_closed: bool, draw: random.Random) -> list[Draft]:
        """Targets but for the missed ones, labels related to them, and retrieved ones; by graded relevance."""
        config = self._config
        targets = [self._row_of[i] for i in known.targets]
        barred = {*targets, *(self._row_of[i] for i in known.left_out if i in self._row_of)}
        graph = {row: weight for row, weight in self._graph.related(targets).items() if row not in barred}
        if is_closed:
            graph = {row: weight for row, weight in graph.items() if row in found}
        relevance = {row: (graph.get(row, 0.0) + found.get(row, 0.0)) / 2 for row in {**found, **graph} if row not in barred}
        recalled = [row for row in targets if draw.random() >= config.miss_rate and (not is_closed or row in found)]
        relevance |= {row: (1.0 + found.get(row, 0.0)) / 2 for row in recalled}
        recalled = sorted(recalled, key=lambda row: (-relevance[row], row))[: config.shortlist_size - MIN_NEAR_MISSES]
        open_count = config.shortlist_size - len(recalled)
        near = sorted(graph, key=lambda row: (-relevance[row], row))[: (open_count + 1) // 2]
        more = [row for row in found if row not in barred and row not in near][: open_count - len(near)]
        chosen = sorted([*recalled, *near, *more], key=lambda row: (-relevance[row], row))
        return [Draft(row, relevance[row], (row in recalled) != (draw.random() < config.flip_rate)) for row in chosen]

    def _guess(self, found: dict[int, float]) -> list[Draft]:
        """Retrieved labels; kept by a fixed margin."""
        best = max(found.values(), default=0.0)
        shortlist = list(found.items())[: self._config.shortlist_size]
        return [Draft(row, score, score >= KEEP_MARGIN * best) for row, score in shortlist]

    def _refine(self, drafts: list[Draft], question: Question, is_known: bool, draw: random.Random) -> Thought:
        if drafts and not any(draft.is_kept for draft in drafts):
            drafts = [replace(drafts[0], is_kept=True), *drafts[1:]]  # asked for labels, a model names one
        rows = [draft.row for draft in drafts]
        concepts = self._graph.concepts(rows, self._index.vectors_at) if is_known else self._index.vectors_at(rows)
        rivals = self._rivals(drafts, concepts, is_known)
        evidence = self._evidence(question.text, drafts, rivals, concepts)
        candidates = []
        for draft, rival, words in zip(drafts, rivals, evidence, strict=True):
            is_open = question.offered is None and question.given is None
            is_invented = draw.random() < self._config.faults.unknown_label and is_open
            label_id = None if is_invented else int(self._index.label_ids[draft.row])
            name = self._invent(draw) if is_invented else self.names[draft.row]
            candidates.append(Candidate(label_id, name, draft.relevance, draft.is_kept, rival, words))
        return Thought(tuple(candidates))

    def _rivals(self, drafts: list[Draft], concepts: Vectors, is_known: bool) -> list[int | None]:
        kept = [place for place, draft in enumerate(drafts) if draft.is_kept]
        cosines = concepts @ concepts.T
        rivals: list[int | None] = []
        for place, draft in enumerate(drafts):
            related = self._graph.neighbours(draft.row) if is_known else {}
            nearness = {k: (related.get(drafts[k].row, 0.0), float(cosines[place, k])) for k in kept}
            rival = max(kept, key=lambda k: nearness[k]) if kept and not draft.is_kept else None
            is_near = rival is not None and (nearness[rival][0] > 0 or nearness[rival][1] >= RIVAL_COSINE)
            rivals.append(rival if is_near else None)
        return rivals

    def _evidence(self, text: str, drafts: list[Draft], rivals: list[int | None], concepts: Vectors) -> list[tuple[str, ...]]:
        """Words of the document that speak for a kept label, or for another label and against a dropped one."""
        words = self._words.known_words(text)
        if not words or not drafts:
            return [tuple(unique_words(text, as_written=True)[:WORDS_PER_STEP])] * len(drafts)
        scores = self._words.of(words) @ concepts.T  # [word, candidate]
        mean = scores.mean(axis=1)
        evidence = []
        for place, (draft, rival) in enumerate(zip(drafts, rivals, strict=True)):
            against = mean if rival is None else scores[:, rival]
            contrast = scores[:, place] - mean if draft.is_kept else against - scores[:, place]
            evidence.append(tuple(words[i] for i in np.argsort(-contrast, kind="stable")[:WORDS_PER_STEP]))
        return evidence

    def _invent(self, draw: random.Random) -> str:
        """A name in the catalogue's words that is not in it: a word from each of several labels, so near to none."""
        for _ in range(10):
            labels = [self.names[draw.randrange(len(self.names))] for _ in range(INVENTED_WORDS)]
            name = " ".join(draw.choice(label.split()).strip(".,:;()") for label in labels)
            if name.lower() not in self._taken:
                return name
        return f"{name} (other)"


def vary(thought: Thought, draw: random.Random, flip_rate: float) -> Thought:
    """The thought as another sample would have it: verdicts turned at the flip rate, one at least kept."""
    turned = [replace(c, is_kept=not c.is_kept) if draw.random() < flip_rate else c for c in thought.candidates]
    kept = {place for place, candidate in enumerate(turned) if candidate.is_kept}
    if not kept:
        return thought
    lost = (c.rival is not None and (c.is_kept or c.rival not in kept) for c in turned)
    return Thought(tuple(replace(c, rival=None) if is_lost else c for c, is_lost in zip(turned, lost, strict=True)))
