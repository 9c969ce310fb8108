"""The cheapest setting that reaches a recall: found on a sample of the labels, its expansion on all of them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.labels.filling import Store, fill_index
from tasks.labels.graph import GraphForm, GraphSetting, SearchGraph, new_graph
from tasks.labels.recall import Oracle, Recall, measure_recall
from tasks.labels.search import LabelIndex
from tasks.labels.vectors import StoredVectors, VectorForm, Vectors

PILOT_LABELS = 20_000
"""Labels of the sample that the forms are tried on: a graph of them is built in seconds."""

K = 100
EXPANSIONS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
FORMS: tuple[tuple[GraphForm, int], ...] = (("i8", 16), ("i8", 32), ("f16", 16), ("f16", 32), ("b1", 16))
VECTOR_FORMS: tuple[VectorForm, ...] = ("int8", "float16")


@dataclass(frozen=True)
class Trial:
    """One setting tried on the sample: its recall@100, and what a query costs in CPU milliseconds."""

    setting: GraphSetting
    vector_form: VectorForm
    recall: Recall
    query_ms: float


def try_settings(vectors: Vectors, queries: Vectors, target: float, expansion_add: int) -> list[Trial]:
    """Every form with the smallest expansion that reaches the target on these labels, or its best if none does.

    Args:
        vectors: unit vectors of a sample of labels, [label, dimension].
        queries: unit vectors, [query, dimension].
        target: recall@100 that the lower end of the interval should reach.
        expansion_add: candidates while building.
    """
    trials = []
    oracle, stores = _sample_oracle(vectors, queries)
    rows = np.arange(len(vectors), dtype=np.int32)
    for form, connectivity in FORMS:
        graph = new_graph(vectors, GraphSetting(form, connectivity, expansion_add, EXPANSIONS[0]))
        graph.add(rows, vectors)
        for vector_form, store in stores.items():
            index = LabelIndex(rows, StoredVectors(store.codes, store.scales), graph.search)
            trials.append(_first_that_reaches(index, graph, vector_form, oracle, target))
    return trials


def _sample_oracle(vectors: Vectors, queries: Vectors) -> tuple[Oracle, dict[VectorForm, Store]]:
    stores = {form: Store(np.zeros(vectors.shape, form), np.zeros(len(vectors), np.float32), form) for form in VECTOR_FORMS}
    names = [str(row) for row in range(len(vectors))]
    oracles = [fill_index([vectors], names, store, queries, K, lambda done, total: None) for store in stores.values()]
    return oracles[0], stores


def _first_that_reaches(index: LabelIndex, graph: SearchGraph, vector_form: VectorForm, oracle: Oracle, target: float) -> Trial:
    for trial in _trials(index, graph, vector_form, oracle):
        if trial.recall.ci_low >= target:
            break
    return trial


def _trials(index: LabelIndex, graph: SearchGraph, vector_form: VectorForm, oracle: Oracle) -> Iterator[Trial]:
    for expansion in EXPANSIONS:
        graph.expand(expansion)
        started = time.process_time()
        recall = measure_recall(index, oracle, (K,))[K]
        query_ms = 1000 * (time.process_time() - started) / len(oracle.queries)
        made = graph.setting
        yield Trial(GraphSetting(made.form, made.connectivity, made.expansion_add, expansion), vector_form, recall, query_ms)


def cheapest(trials: Sequence[Trial], target: float) -> Trial:
    """The trial of least CPU time a query among those that reach the target; if none does, that of highest recall."""
    reaching = [trial for trial in trials if trial.recall.ci_low >= target]
    if reaching:
        return min(reaching, key=lambda trial: trial.query_ms)
    return max(trials, key=lambda trial: trial.recall.value)


def smallest_expansion(index: LabelIndex, graph: SearchGraph, oracle: Oracle, target: float) -> dict[int, Recall]:
    """Recall@100 on the whole index by expansion, from the setting's upwards, until one reaches the target.

    The graph is left with the last of them.
    """
    tried = {}
    for expansion in [e for e in EXPANSIONS if e >= graph.expansion_search] or [graph.expansion_search]:
        graph.expand(expansion)
        tried[expansion] = measure_recall(index, oracle, (K,))[K]
        if tried[expansion].ci_low >= target:
            break
    return tried
