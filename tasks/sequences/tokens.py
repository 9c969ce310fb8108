"""Annotated text as tokens: the same places, as positions of tokens and rows that predict them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Tokens = Int[np.ndarray, " token"]
Positions = Int[np.ndarray, " place"]
Pairs = Int[np.ndarray, "row 2"]


@dataclass(frozen=True)
class TokenSequence:
    """One document and trace as tokens; every position is an index into `token_ids`.

    Q_early are the rows from which the first token of a shortlisted label is predicted (its position minus one), Q_refine those
    from which the first token is predicted in which the label a refinement step argues for differs from its near miss.
    """

    document_id: str
    trace_id: str
    token_ids: Tokens
    document: Positions
    anchors: Positions
    response_start: int
    refine_start: int
    early_rows: Positions
    """Q_early, one a located candidate, in the order of the shortlist."""
    early_tokens: Positions
    """The token id that stands after each row of Q_early."""
    candidate_spans: tuple[Positions, ...]
    """Positions of the tokens of each located candidate's first mention, in the order of the shortlist."""
    is_kept: Bool[np.ndarray, " candidate"]
    candidate_labels: Positions
    """Label id of each located candidate."""
    refine_rows: Positions
    """Q_refine, one a usable refinement step."""
    margin_tokens: Pairs
    """Token ids of target and near miss where their names first differ, one pair a row of Q_refine."""
    refine_labels: Pairs
    """Label ids of target and near miss, one pair a row of Q_refine."""
    refine_positions: tuple[float, ...]
    """Relative position (0 to 1) of the step of each row of Q_refine in its trace."""
    cut_count: int = 0
    """Places lost because the sequence was cut, or because target and near miss begin alike to the end."""
