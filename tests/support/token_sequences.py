"""Token sequences made by hand, for analyses of heads."""

from collections.abc import Sequence

import numpy as np

from tasks.sequences.tokens import TokenSequence


def token_sequence(
    document_id: str,
    document: Sequence[int],
    anchors: Sequence[int],
    shortlist: Sequence[int],
    refine: Sequence[tuple[int, int]],
    mark: int = 1,
) -> TokenSequence:
    """A document, a mark, its shortlist, a mark, and one token a refinement step; anchors are positions, the rest token ids.

    Args:
        document_id: its name.
        document: tokens of the document.
        anchors: positions in it.
        shortlist: tokens of candidates; their label ids are the same.
        refine: target and near miss of each step, tokens and label ids.
        mark: the token that stands before both phases.
    """
    ids = [*document, mark, *shortlist, mark, *(target for target, _ in refine)]
    first = len(document)
    refine_start = first + 1 + len(shortlist)
    kept = {target for target, _ in refine}
    return TokenSequence(
        document_id=document_id,
        trace_id=f"trace-{document_id}",
        token_ids=np.array(ids),
        document=np.arange(len(document)),
        anchors=np.array(anchors, dtype=np.int64),
        response_start=first,
        refine_start=refine_start,
        early_rows=np.arange(first, first + len(shortlist)),
        early_tokens=np.array(shortlist, dtype=np.int64),
        candidate_spans=tuple(np.array([first + 1 + place]) for place in range(len(shortlist))),
        is_kept=np.array([token in kept for token in shortlist]),
        candidate_labels=np.array(shortlist, dtype=np.int64),
        refine_rows=np.arange(refine_start, refine_start + len(refine)),
        margin_tokens=np.array(refine, dtype=np.int64).reshape(-1, 2),
        refine_labels=np.array(refine, dtype=np.int64).reshape(-1, 2),
        refine_positions=tuple(0.5 for _ in refine),
    )
