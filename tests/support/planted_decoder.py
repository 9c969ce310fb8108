"""A decoder with weights set by hand: one head that finds anchors, one that picks the kept candidates by them, the others inert.

Layer 0, head 1 (coarse) attends to anchor words and writes their topics. In the last layer, head 2 (refine) attends at `<keep>`
to the candidates named after those topics and writes the topic that their logits are read from; anywhere else it rests on
`<document>`. All other heads attend evenly and write where nothing reads.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tasks.sequences.tokens import TokenSequence

HEADS, D_HEAD, D_MODEL, TOPICS = 4, 32, 24, 8
COARSE_HEAD, REFINE_HEAD = 1, 2
PAD, DOCUMENT, SHORTLIST, REFINE, KEEP, DROP, ANSWER, END = range(8)
FIRST_ANCHOR, FIRST_WORD, WORDS, FIRST_LABEL = 8, 16, 24, 40
VOCABULARY = FIRST_LABEL + TOPICS
WORD_COUNT = 12

_CONST, _ANCHOR, _REFINE, _SINK, _JUNK = range(5)
_TOPIC, _NAME = slice(6, 6 + TOPICS), slice(6 + TOPICS, 6 + 2 * TOPICS)
_SLOW = slice(8, 8 + TOPICS)
"""Places in a head that rotary positions leave where they are: theta is 1e12, so they turn by less than 1e-5 a token."""
_SINK_PLACE = 7


def planted_decoder(kv_heads: int = HEADS, layers: int = 2) -> PreTrainedModel:
    """The decoder; layers between the first and the last are inert altogether."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=D_MODEL, intermediate_size=8, num_hidden_layers=layers, num_attention_heads=HEADS,
        num_key_value_heads=kv_heads, head_dim=D_HEAD, max_position_embeddings=256, tie_word_embeddings=False,
        pad_token_id=PAD, bos_token_id=None, eos_token_id=END, rope_parameters={"rope_type": "default", "rope_theta": 1e12},
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.zero_()
        _embed(model.model.embed_tokens.weight, model.lm_head.weight)
        for layer in model.model.layers:
            _make_inert(layer.self_attn)
        _make_coarse(model.model.layers[0].self_attn, HEADS // kv_heads)
        _make_refine(model.model.layers[-1].self_attn, HEADS // kv_heads)
    model.train(False)
    return model


def _embed(tokens: Tensor, readout: Tensor) -> None:
    tokens[:, _CONST] = 1.0
    tokens[KEEP, _REFINE] = tokens[DOCUMENT, _SINK] = 1.0
    every = torch.arange(TOPICS)
    tokens[FIRST_ANCHOR : FIRST_ANCHOR + TOPICS, _ANCHOR] = 1.0
    tokens[FIRST_ANCHOR + every, _TOPIC.start + every] = 2.0
    tokens[FIRST_LABEL + every, _NAME.start + every] = 2.0
    readout[FIRST_LABEL + every, _TOPIC.start + every] = 1.0


def _make_inert(attention: torch.nn.Module) -> None:
    """Queries of zero attend evenly; values of the constant are written where nothing reads."""
    query, value, output = _weights(attention, "q_proj", "v_proj", "o_proj")
    query.zero_()
    value[:, _CONST] = 0.2
    for head in range(HEADS):
        output[_JUNK, head * D_HEAD : (head + 1) * D_HEAD] = 0.1


def _make_coarse(attention: torch.nn.Module, shared: int) -> None:
    """Whatever asks attends to anchors, and gets their topics."""
    query, key, value, output = _weights(attention, "q_proj", "k_proj", "v_proj", "o_proj")
    ours, group = COARSE_HEAD * D_HEAD, COARSE_HEAD // shared * D_HEAD
    query[ours + _SLOW.start, _CONST] = 20.0
    key[group + _SLOW.start, _ANCHOR] = 20.0
    _copy(value, output, ours, group, _TOPIC, 1.0)


def _make_refine(attention: torch.nn.Module, shared: int) -> None:
    """At `<keep>`, topics written there ask for candidates of those names; anywhere else `<document>` is asked for."""
    query, key, value, output = _weights(attention, "q_proj", "k_proj", "v_proj", "o_proj")
    ours, group = REFINE_HEAD * D_HEAD, REFINE_HEAD // shared * D_HEAD
    for topic in range(TOPICS):
        query[ours + _SLOW.start + topic, _TOPIC.start + topic] = 6.0
        key[group + _SLOW.start + topic, _NAME.start + topic] = 6.0
    query[ours + _SINK_PLACE, _CONST], query[ours + _SINK_PLACE, _REFINE] = 20.0, -20.0
    key[group + _SINK_PLACE, _SINK] = 40.0
    _copy(value, output, ours, group, _NAME, 4.0)
    value[group, _SINK], output[_JUNK, ours] = 1.0, 1.0


def _copy(value: Tensor, output: Tensor, ours: int, group: int, read: slice, gain: float) -> None:
    """Write topics from what stands in `read`, and nothing else."""
    value[group : group + D_HEAD] = 0.0
    output[:, ours : ours + D_HEAD] = 0.0
    for topic in range(TOPICS):
        value[group + _SLOW.start + topic, read.start + topic] = 1.0
        output[_TOPIC.start + topic, ours + _SLOW.start + topic] = gain


def _weights(attention: torch.nn.Module, *names: str) -> list[Tensor]:
    return [attention.get_parameter(f"{name}.weight") for name in names]


@dataclass(frozen=True)
class _Parts:
    words: list[int]
    kept: list[int]
    dropped: list[int]
    shortlist: list[int]


def planted_sequence(seed: int) -> TokenSequence:
    """A document with anchors of two or three topics, a shortlist of these and three other labels, a step for each kept one."""
    draw = np.random.default_rng(seed)
    topics = draw.permutation(TOPICS).tolist()
    count = int(draw.integers(2, 4))
    kept, dropped = topics[:count], topics[count : count + 3]
    words = draw.integers(FIRST_WORD, FIRST_WORD + WORDS, WORD_COUNT).tolist()
    for place, topic in zip(draw.permutation(WORD_COUNT)[:count].tolist(), kept, strict=True):
        words[place] = FIRST_ANCHOR + topic
    return _sequence(f"d{seed}", _Parts(words, kept, dropped, draw.permutation(kept + dropped).tolist()))


def _sequence(name: str, parts: _Parts) -> TokenSequence:
    labels = [FIRST_LABEL + label for label in parts.shortlist]
    head = [DOCUMENT, *parts.words, SHORTLIST]
    steps = [token for label in parts.kept for token in (KEEP, FIRST_LABEL + label)]
    start = len(head) + len(labels)  # of <refine>
    tokens = [*head, *labels, REFINE, *steps, ANSWER, *(FIRST_LABEL + label for label in parts.kept), END]
    pairs = [(label, parts.dropped[place % 3]) for place, label in enumerate(parts.kept)]
    document = np.arange(1, 1 + WORD_COUNT)
    is_anchor = np.array([FIRST_ANCHOR <= word < FIRST_ANCHOR + TOPICS for word in parts.words])
    spans = np.arange(len(head), start)
    return TokenSequence(
        document_id=name,
        trace_id=f"{name}-trace",
        token_ids=np.array(tokens),
        document=document,
        anchors=document[is_anchor],
        response_start=len(head) - 1,
        refine_start=start,
        early_rows=spans - 1,
        early_tokens=np.array(labels),
        candidate_spans=tuple(spans[:, None]),
        is_kept=np.array([label in parts.kept for label in parts.shortlist]),
        candidate_labels=np.array(parts.shortlist),
        refine_rows=start + 1 + 2 * np.arange(len(parts.kept)),
        margin_tokens=np.array(pairs) + FIRST_LABEL,
        refine_labels=np.array(pairs),
        refine_positions=tuple((len(labels) + place) / (len(labels) + len(pairs)) for place in range(len(pairs))),
    )
