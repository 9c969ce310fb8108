"""What scoring all heads costs beside a plain forward pass, keeping all attention maps, and TransformerLens.

`-s` shows the figures, `tests/bench/results/heads.json` keeps them. TransformerLens is measured where it is installed; it is no
dependency of ours and wants old ones of its own, so it goes, without what it asks for, into an environment made for this test:

    python -m venv --system-site-packages lens, with our environment's site-packages on its path (a .pth file)
    lens/bin/pip install --no-deps transformer-lens==4.3.0 einops fancy-einsum beartype typeguard datasets dill multiprocess \\
        xxhash sentencepiece wandb transformers-stream-generator
    lens/bin/python -m pytest -m bench -s tests/bench/test_heads_bench.py
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tasks.open_models.scores import HeadRows
from tests.bench.head_costs import (
    LLAMA_70B,
    Shape,
    forward_flops,
    kept_bytes,
    layer_bytes,
    map_bytes,
    parameters,
    scoring_flops,
)
from tests.bench.head_sides import LONG, OFFLINE, WAYS, Size, Way, make_setup, peak_mb

pytestmark = pytest.mark.bench

RESULTS = Path(__file__).parent / "results" / "heads.json"
REPEATS = 9
BUDGET = 1.5
DEPTHS = (6, 12, 24)
HAS_LENS = find_spec("transformer_lens") is not None
MEASURED = [name for name in WAYS if HAS_LENS or not name.startswith("TransformerLens")]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def keep(part: str, figures: Any) -> None:
    """Show figures and put them into the results file."""
    sys.stdout.write(f"\n{part}: {json.dumps(figures, indent=1)}\n")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {part: figures}, indent=1) + "\n")


def cpu_seconds(ways: dict[str, Way]) -> dict[str, list[float]]:
    """CPU seconds of each way, all ways once a round; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(REPEATS + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if round_number:
                taken[name].append(time.process_time() - started)
    return taken


def ratio(taken: dict[str, list[float]], name: str, beside: str) -> dict[str, float]:
    """Median of the ratios by round, and the range of all of them."""
    ratios = [one / other for one, other in zip(taken[name], taken[beside], strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


@pytest.mark.parametrize("size", [OFFLINE, LONG], ids=["offline", "long"])
def test_scoring_costs_at_most_one_and_a_half_forward_passes(size: Size) -> None:
    setup = make_setup(size)
    names = MEASURED if size.family == "gpt2" else [name for name in MEASURED if not name.startswith("TransformerLens")]
    taken = cpu_seconds({name: WAYS[name](setup) for name in names})
    beside = {one: {other: ratio(taken, other, one) for other in names} for one in ("plain forward", "forward without logits")}
    medians = {name: statistics.median(values) for name, values in taken.items()}
    keep(f"cpu, {size.family} {size.layers} layers", {"size": asdict(size), "median_s": medians, "beside": beside})
    assert all(beside[one]["ours"]["median"] <= BUDGET for one in beside)
    assert medians["ours"] < min(medians[name] for name in names if name.startswith(("output", "Transformer")))


def test_memory_of_scoring_hardly_grows_with_depth() -> None:
    found: dict[str, list[float]] = {name: [] for name in MEASURED}
    for depth in DEPTHS:
        setup = make_setup(replace(LONG, layers=depth))
        for name in MEASURED:
            found[name].append(peak_mb(WAYS[name](setup)))
    shapes = [shape_of(replace(LONG, layers=depth)) for depth in DEPTHS]
    kept = [LONG.documents * kept_bytes(shape) / 1e6 for shape in shapes]
    keep("memory", {"size": asdict(LONG), "depths": DEPTHS, "peak_mb": found, "kept_until_the_end_mb_by_formula": kept})
    growth, others = found["ours"][-1] - found["ours"][0], [name for name in MEASURED if name.startswith(("output", "Trans"))]
    assert growth == pytest.approx(kept[-1] - kept[0], rel=0.2)
    assert found["ours"][-1] < 1.1 * found["plain forward"][-1]
    assert found["ours"][-1] < 0.2 * min(found[name][-1] for name in others)


@pytest.mark.skipif(not HAS_LENS, reason="TransformerLens is not installed; the module's docstring says how")
def test_transformer_lens_finds_the_same() -> None:
    setup = make_setup(Size("gpt2", 3, 32, 4, 97, 3, 40, 6, 5))
    with torch.no_grad():
        for weight in setup.model.parameters():  # as drawn, attention is all but even, and its kurtosis is made of rounding
            weight.mul_(8.0 if weight.dim() > 1 else 1.0)
    found = {name: WAYS[name](setup)() for name in MEASURED if not name.endswith(("forward", "logits"))}
    ours = found["ours"]
    assert isinstance(ours, HeadRows)
    differences = {
        name: {field: apart(getattr(rows, field), getattr(ours, field)) for field in asdict(ours)} for name, rows in found.items()
    }
    keep("largest difference from ours, of 1 or of the value if that is larger", differences)
    assert max(max(fields.values()) for fields in differences.values()) < 1e-5


def apart(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return float(np.nanmax(np.abs(values - others) / np.maximum(1, np.abs(others))))


def shape_of(size: Size) -> Shape:
    """The formula's view of a size; GPT-2's two feed-forward matrices of 4 d are counted as three of 8/3 d."""
    feed_forward = -(-8 * size.d_model // 24) * 8 if size.family == "llama" else 8 * size.d_model // 3
    d_head = size.d_model // size.heads
    return Shape(
        size.layers, size.d_model, size.heads, size.heads, d_head, feed_forward, size.vocabulary, size.tokens, size.candidates,
        size.refinements, size.candidates, 4,
    )  # fmt: skip


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiplications and additions of matrix products, by torch's own formulas."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=out) if count else 0
        return out


def counted_flops(way: Way) -> float:
    with Counter() as counter:
        way()
    return float(counter.total)


def test_the_formula_for_large_models_holds_for_small_ones() -> None:
    figures = {}
    for size in (OFFLINE, replace(OFFLINE, layers=12, d_model=256), replace(OFFLINE, tokens=512, documents=4, candidates=20)):
        setup, shape = make_setup(size), shape_of(size)
        without_attention, scored = (
            counted_flops(WAYS[name](setup)) / size.documents for name in ("forward without logits", "ours")
        )
        setup.model.set_attn_implementation("eager")  # the fused kernel is not counted
        body = counted_flops(WAYS["forward without logits"](setup)) / size.documents
        figures[f"{size.layers} layers, d {size.d_model}, {size.tokens} tokens"] = {
            "forward": [body, forward_flops(shape)],
            "scoring": [scored - without_attention, scoring_flops(shape, size.documents)],
        }
    keep("flops a document, counted and by formula", figures)
    for pair in (pair for figure in figures.values() for pair in figure.values()):
        assert pair[1] == pytest.approx(pair[0], rel=0.02)


def test_plan_for_a_70b_teacher() -> None:
    shape = LLAMA_70B
    keep(
        "plan, Llama 3 70B, 4,096 tokens, 20 + 20 rows, 20 candidates, one document a batch",
        {
            "weights_gb": parameters(shape) * shape.bytes_a_number / 1e9,
            "forward_tflop_a_document": forward_flops(shape) / 1e12,
            "forward_gflop_a_token": forward_flops(shape) / shape.tokens / 1e9,
            "scoring_tflop_a_document": scoring_flops(shape, 1) / 1e12,
            "scoring_share": scoring_flops(shape, 1) / forward_flops(shape),
            "kept_until_the_end_mb": kept_bytes(shape) / 1e6,
            "beside_a_layer_mb": layer_bytes(shape) / 1e6,
            "output_projection_in_float32_mb": 4 * shape.width * shape.d_model / 1e6,
            "all_maps_gb": map_bytes(shape) / 1e9,
        },
    )
    assert scoring_flops(shape, 1) < 0.01 * forward_flops(shape)
