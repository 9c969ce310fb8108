"""The scores of heads as their definitions say, with the model's own attention maps and a loop over documents, heads and rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.open_models.families import find_parts
from tasks.sequences.batches import Batch
from tasks.sequences.tokens import TokenSequence

Scores = dict[str, np.ndarray]


def eager_scores(model: PreTrainedModel, sequences: list[TokenSequence], batch: Batch) -> Scores:
    """Scores by name, [document, layer, head]."""
    parts = find_parts(model)
    model.set_attn_implementation("eager")
    entered: list[Tensor] = []
    mixed: list[Tensor] = []
    finals: list[Tensor] = []

    def keep(store: list[Tensor]) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            store.append((args[0] if args else kwargs["hidden_states"]).detach())

        return hook

    handles = [block.register_forward_pre_hook(keep(entered), with_kwargs=True) for block in parts.blocks]
    handles += [one.register_forward_pre_hook(keep(mixed), with_kwargs=True) for one in parts.projections]
    handles.append(parts.final.register_forward_pre_hook(keep(finals), with_kwargs=True))
    with torch.no_grad():
        output = model(
            input_ids=batch.token_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            output_attentions=True,
        )
    for handle in handles:
        handle.remove()
    names = ("kurtosis", "anchor_alignment", "coarse_score", "qk_refinement", "ov_helpfulness", "refine_score")
    shape = (len(sequences), parts.layer_count, parts.head_count)
    scores = {name: np.full(shape, np.nan) for name in names}
    for document, (one, offset) in enumerate(zip(sequences, batch.offsets, strict=True)):
        for layer in range(parts.layer_count):
            state = entered[layer][document].double().numpy()
            for head in range(parts.head_count):
                writes = mixed[layer][document, :, head * parts.d_head : (head + 1) * parts.d_head].double()
                weights = parts.projections[layer].get_parameter("weight").detach().double()
                weights = weights.T if isinstance(parts.projections[layer], nn.Linear) else weights
                delta = (writes @ weights[head * parts.d_head : (head + 1) * parts.d_head]).numpy()
                attention = output.attentions[layer][document, head].double().numpy()
                place = (document, layer, head)
                _early(scores, place, one, offset, attention, delta, state)
                _refine(scores, place, one, offset, attention, delta, _gradients(model, finals[0][document], one, offset))
    return scores


def _gradients(model: PreTrainedModel, states: Tensor, one: TokenSequence, offset: int) -> list[np.ndarray]:
    """Of the difference of two logits, all logits read by the model's own last modules, at each row of Q_refine."""
    parts = find_parts(model)
    found = []
    for row, (target, near) in zip(one.refine_rows + offset, one.margin_tokens, strict=True):
        leaf = states[row].clone().requires_grad_()
        logits = parts.readout(parts.final(leaf[None, None]))[0, 0]
        (logits[target] - logits[near]).backward()
        assert leaf.grad is not None
        found.append(leaf.grad.double().numpy())
    return found


def _early(
    scores: Scores, place: Any, one: TokenSequence, offset: int, attention: np.ndarray, delta: np.ndarray, state: np.ndarray
) -> None:
    kurtoses, cosines = [], []
    for row in one.early_rows + offset:
        seen = attention[row, offset : row + 1]
        spread = seen - seen.mean()
        kurtoses.append((spread**4).mean() / (spread**2).mean() ** 2 - 3)
        if len(one.anchors):
            centroid = state[one.anchors + offset].mean(axis=0) - state[one.document + offset].mean(axis=0)
            cosines.append(delta[row] @ centroid / np.linalg.norm(delta[row]) / np.linalg.norm(centroid))
    if kurtoses:
        scores["kurtosis"][place] = np.mean(kurtoses)
    if cosines:
        scores["anchor_alignment"][place] = np.mean(cosines)
        scores["coarse_score"][place] = np.mean([k * c for k, c in zip(kurtoses, cosines, strict=True)])


def _refine(
    scores: Scores,
    place: Any,
    one: TokenSequence,
    offset: int,
    attention: np.ndarray,
    delta: np.ndarray,
    slopes: list[np.ndarray],
) -> None:
    gaps, helps, products = [], [], []
    for row, slope in zip(one.refine_rows, slopes, strict=True):
        masses: dict[bool, list[float]] = {True: [], False: []}
        for span, is_kept in zip(one.candidate_spans, one.is_kept, strict=True):
            if span[-1] <= row:
                masses[bool(is_kept)].append(attention[row + offset, span + offset].sum())
        helps.append(delta[row + offset] @ slope)
        if masses[True] and masses[False]:
            gaps.append(np.mean(masses[True]) - np.mean(masses[False]))
            products.append(gaps[-1] * helps[-1])
    if helps:
        scores["ov_helpfulness"][place] = np.mean(helps)
    if gaps:
        scores["qk_refinement"][place], scores["refine_score"][place] = np.mean(gaps), np.mean(products)
