"""What the benchmark runs: datasets with the slice that is taken, the stages of each part, and the variants of sensitivity."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

ROOT = Path(__file__).parents[3]
SETTINGS = Path(__file__).parent
SAMPLE = "debian-seealso-small"
SHARED = ROOT.parent / "shared" / "data"

Part = Literal["encoder", "decoder", "sensitivity"]
PARTS: tuple[Part, ...] = get_args(Part)

FIRST = ("ingest", "index", "trace", "parse")
STAGES: dict[Part, tuple[str, ...]] = {
    "encoder": (*FIRST, "distill", "evaluate"),
    "decoder": (*FIRST, "decoder", "heads", "distill-decoder", "fidelity", "distill", "evaluate"),
    "sensitivity": (*FIRST, "distill", "evaluate"),
}
"""The stage `evaluate` reads encoder students, so the decoder part trains them too."""

TAGGING = "tag"
"""Not a stage: the speed of tagging, after the encoder part."""
TAGGING_FIGURES = "tagging.json"
"""What was measured of it, below a data root."""


@dataclass(frozen=True)
class Dataset:
    """A dataset and how much of it is taken; None takes a split whole."""

    name: str
    train_count: int | None
    test_count: int | None


DATASETS = (
    Dataset("debian-seealso", 4000, 1000),
    Dataset("debian-tags", 6000, 1000),
    Dataset(SAMPLE, None, None),
)
"""Longest first: two run side by side, a core each."""


def parts_of(dataset: Dataset, chosen: Sequence[Dataset], parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts that are done for a dataset: decoders are trained on the sample only if it is the only dataset.

    They learn little from its 2,000 documents, and cost as much as on the others.
    """
    return tuple(part for part in parts if dataset.name != SAMPLE or part != "decoder" or len(chosen) == 1)


@dataclass(frozen=True)
class Variant:
    """The sample with other settings of the teacher, under a name of its own."""

    name: str
    settings: tuple[str, ...]


def _errors(miss: float, flip: float) -> tuple[str, ...]:
    return (f"teacher.stand_in.miss_rate={miss}", f"teacher.stand_in.flip_rate={flip}")


VARIANTS = (
    Variant("errors-none", _errors(0.0, 0.0)),
    Variant("usual", _errors(0.1, 0.05)),
    Variant("errors-many", _errors(0.4, 0.2)),
    Variant("traces-500", ("teacher.max_documents=500",)),
    Variant("traces-1000", ("teacher.max_documents=1000",)),
)
"""Three error rates and three counts of traces: `usual` is one of either."""

VARIANT_SETTINGS = (
    'distill.methods=["answers", "mechanistic"]',
    "distill.seeds=[0,1,2]",
    "distill.has_supervised_reference=false",
)


@dataclass(frozen=True)
class Step:
    """One stage of one dataset."""

    dataset: str
    stage: str
    settings: tuple[str, ...] = ()


def variant_dataset(variant: Variant) -> str:
    """The name a variant of the sample goes by in the warehouse."""
    return f"{SAMPLE}.{variant.name}"


def plan_steps(name: str, parts: tuple[Part, ...]) -> list[Step]:
    """The steps of one dataset in order, each once; only the sample has variants."""
    steps = [Step(name, stage) for part in parts if part != "sensitivity" for stage in STAGES[part]]
    if "encoder" in parts:
        steps.append(Step(name, TAGGING))
    if "decoder" in parts and "encoder" in parts:
        steps = [Step(name, stage) for stage in (*STAGES["decoder"], TAGGING)]
    if "sensitivity" in parts and name == SAMPLE:
        for variant in VARIANTS:
            settings = (*VARIANT_SETTINGS, *variant.settings)
            steps += [Step(variant_dataset(variant), stage, settings) for stage in STAGES["sensitivity"]]
    return list(dict.fromkeys(steps))
