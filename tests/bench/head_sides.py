"""Ways to get the scores of all heads of one batch: ours, all attention maps kept, TransformerLens; and models to do it with.

The work after the capture is the same for all: rows are cut from what was captured and go through our own reductions.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tasks.open_models.families import DecoderParts, margin_gradients, take_rows
from tasks.open_models.places import find_places
from tasks.open_models.scores import HeadRows, Recorder, collect_rows, helpfulness, measure_rows
from tasks.open_models.watching import LayerRecord, watch_heads
from tasks.sequences.batches import Batch, pad
from tasks.sequences.tokens import TokenSequence

Way = Callable[[], HeadRows | None]


@dataclass(frozen=True)
class Size:
    """Sizes of a model and of a batch of documents with traces."""

    family: str
    layers: int
    d_model: int
    heads: int
    vocabulary: int
    documents: int
    tokens: int
    candidates: int
    refinements: int


OFFLINE = Size("llama", 6, 128, 8, 6500, 32, 110, 10, 5)
"""The decoder that is trained here, with its compact traces."""

LONG = Size("gpt2", 12, 256, 8, 1000, 4, 512, 20, 20)
"""A longer text in a deeper model; TransformerLens reads GPT-2."""


def make_model(size: Size) -> PreTrainedModel:
    """A random decoder of this size."""
    torch.manual_seed(0)
    if size.family == "gpt2":
        made: PreTrainedModel = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size.vocabulary, n_embd=size.d_model, n_head=size.heads, n_layer=size.layers, n_positions=size.tokens
            )
        )
    else:
        made = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size.vocabulary, hidden_size=size.d_model, intermediate_size=-(-8 * size.d_model // 24) * 8,
                num_hidden_layers=size.layers, num_attention_heads=size.heads, num_key_value_heads=size.heads,
                max_position_embeddings=size.tokens, tie_word_embeddings=True,
            )
        )  # fmt: skip
    made.train(False)
    return made


def draw_sequence(size: Size, seed: int) -> TokenSequence:
    """A trace whose places are spread as in a real one: half document, a shortlist, a refinement to the end."""
    draw = np.random.default_rng(seed)
    document = np.arange(size.tokens // 2)
    spans = size.tokens // 2 + 1 + np.arange(size.candidates)
    rows = np.linspace(spans[-1] + 1, size.tokens - 2, size.refinements).astype(np.int64)
    tokens = draw.integers(1, size.vocabulary, size.tokens)
    return TokenSequence(
        document_id=f"d{seed}", trace_id=f"t{seed}", token_ids=tokens, document=document,
        anchors=np.sort(draw.choice(document, len(document) // 6, replace=False)), response_start=size.tokens // 2,
        refine_start=int(spans[-1]) + 1, early_rows=spans - 1, early_tokens=tokens[spans], candidate_spans=tuple(spans[:, None]),
        is_kept=np.arange(size.candidates) % 3 == 0, candidate_labels=np.arange(size.candidates), refine_rows=rows,
        margin_tokens=draw.integers(1, size.vocabulary, (size.refinements, 2)),
        refine_labels=np.zeros((size.refinements, 2), np.int64), refine_positions=tuple(np.linspace(0.5, 1, size.refinements)),
    )  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """A model with a batch."""

    size: Size
    model: PreTrainedModel
    parts: DecoderParts
    sequences: list[TokenSequence]
    batch: Batch

    def inputs(self) -> dict[str, Any]:  # keyword arguments of a model's forward pass
        return {
            "input_ids": self.batch.token_ids, "attention_mask": self.batch.attention_mask,
            "position_ids": self.batch.position_ids, "use_cache": False,
        }  # fmt: skip


def make_setup(size: Size) -> Setup:
    """A model and a batch of this size."""
    model = make_model(size)
    sequences = [draw_sequence(size, seed) for seed in range(size.documents)]
    return Setup(size, model, watch_heads(model), sequences, pad([one.token_ids.tolist() for one in sequences], 0))


def reduce(setup: Setup, attention: list[Tensor], outputs: list[Tensor], states: list[Tensor], final: Tensor) -> HeadRows:
    """Whole captures, a layer each, to our quantities: attention [b, h, t, t], outputs [b, t, h, d_head], states [b, t, d]."""
    places = find_places(setup.sequences, setup.batch)
    recorder, rows = Recorder(setup.parts, places), places.rows
    for layer, (whole, mixed, state) in enumerate(zip(attention, outputs, states, strict=True)):
        seen = (torch.arange(whole.shape[3]) <= rows[..., None])[:, None]
        cut = whole.gather(2, rows[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3]))
        taken = mixed.gather(1, rows[:, :, None, None].expand(-1, -1, *mixed.shape[2:])).transpose(1, 2)
        recorder.take(LayerRecord(layer, cut, seen, taken, state))
    _, gradient = margin_gradients(setup.parts, take_rows(final, places.refine), places.pairs)
    return collect_rows(
        places, recorder, [helpfulness(setup.parts, at, taken, gradient) for at, taken in enumerate(recorder.outputs)]
    )


def plain(setup: Setup) -> Way:
    """A forward pass as anybody makes it."""

    def run() -> None:
        with torch.no_grad():
            setup.model(**setup.inputs())

    return run


def body_alone(setup: Setup) -> Way:
    """The same without logits, which scores need none of."""

    def run() -> None:
        with torch.no_grad():
            setup.parts.body(**setup.inputs())

    return run


def ours(setup: Setup) -> Way:
    """Scores as the stage gets them."""
    return lambda: measure_rows(setup.parts, setup.sequences, setup.batch)


def all_maps(setup: Setup) -> Way:
    """`output_attentions=True` of the eager model, head outputs and states by hooks."""
    size = setup.size

    def run() -> HeadRows:
        outputs: list[Tensor] = []
        states: list[Tensor] = []
        finals: list[Tensor] = []

        def keep(store: list[Tensor]) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                store.append(args[0] if args else kwargs["hidden_states"])

            return hook

        pairs = [*((one, outputs) for one in setup.parts.projections), *((one, states) for one in setup.parts.blocks)]
        setup.model.set_attn_implementation("eager")
        with ExitStack() as stack, torch.no_grad():
            for module, store in [*pairs, (setup.parts.final, finals)]:
                stack.callback(module.register_forward_pre_hook(keep(store), with_kwargs=True).remove)
            maps = setup.parts.body(**setup.inputs(), output_attentions=True).attentions
            mixed = [one.reshape(*one.shape[:2], size.heads, -1) for one in outputs]
            found = reduce(setup, list(maps), mixed, states, finals[0])
        setup.model.set_attn_implementation("watched_heads")
        return found

    return run


def transformer_lens(setup: Setup, is_filtered: bool) -> Way:
    """`run_with_cache` of TransformerLens, everything or only what scores need, on a copy of the same weights."""
    from transformer_lens.model_bridge import TransformerBridge  # type: ignore[import-not-found]  # installed for this alone

    folder = mkdtemp()  # it reads a model's name from disk, whatever it is given
    made = make_model(setup.size)
    made.load_state_dict(setup.model.state_dict())
    made.save_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(folder, hf_model=made, tokenizer=_tokenizer(setup.size), device="cpu")
    wanted = ("hook_pattern", "attn.hook_z", "hook_resid_pre", f"blocks.{setup.size.layers - 1}.hook_resid_post")

    def run() -> HeadRows:
        names = {"names_filter": lambda name: name.endswith(wanted)} if is_filtered else {}
        with torch.no_grad():
            _, cache = bridge.run_with_cache(setup.batch.token_ids, **names)
            layers = range(setup.size.layers)
            maps, mixed, states = (
                [cache[f"blocks.{layer}.{kind}"] for layer in layers]
                for kind in ("attn.hook_pattern", "attn.hook_z", "hook_resid_pre")
            )
            return reduce(setup, maps, mixed, states, cache[f"blocks.{setup.size.layers - 1}.hook_resid_post"])

    return run


def _tokenizer(size: Size) -> Any:
    from tests.support.tiny_tokenizers import word_level

    return word_level([" ".join(f"w{i}" for i in range(size.vocabulary - 2))])


WAYS: dict[str, Callable[[Setup], Way]] = {
    "plain forward": plain,
    "forward without logits": body_alone,
    "ours": ours,
    "output_attentions": all_maps,
    "TransformerLens, filtered": lambda setup: transformer_lens(setup, True),
    "TransformerLens": lambda setup: transformer_lens(setup, False),
}


def peak_mb(way: Way) -> float:
    """Most memory that a way's tensors take at once on the CPU, by torch's own record of what it allocates and frees."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        way()
    assert record.profiler is not None
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return float(max(accumulate(event.nbytes() for event in events)) / 1e6)
