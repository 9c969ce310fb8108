"""A decoder student in training: a small one that is built here, or a folder's, whole or through adapters."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from schemas.errors import ConfigError
from tasks.open_models.factorised import FactorisedDecoder, keeping_table, materialise, watch_factorised
from tasks.open_models.families import DecoderParts
from tasks.open_models.lessons import LessonBatch
from tasks.open_models.watching import watch_heads

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Learner:
    """A student and how it is run; `core` holds every weight, `finish` gives it as a plain model on the CPU.

    Sequences are padded on the right, so no row of a sequence sees padding and no mask is needed.
    """

    core: nn.Module
    parts: DecoderParts
    finish: Callable[[], "PreTrainedModel"]

    @property
    def device(self) -> torch.device:
        """The device that token ids are given on."""
        return next(self.parts.blocks[0].parameters()).device

    def weights(self) -> dict[str, nn.Parameter]:
        """The weights that are trained, by name."""
        return {name: weight for name, weight in self.core.named_parameters() if weight.requires_grad}

    def prepared(self) -> AbstractContextManager[None]:
        """Within it the weights do not change: what is derived from them is made once."""
        return keeping_table(self.core) if isinstance(self.core, FactorisedDecoder) else nullcontext()

    def states(self, token_ids: Tensor) -> Tensor:
        """What the body gives: final states [sequence, token, d_model], or logits where they cannot be had apart."""
        out: Any = self.parts.body(input_ids=token_ids, use_cache=False)
        found: Tensor = out.logits if hasattr(out, "logits") else out.last_hidden_state
        return found

    def logits(self, states: Tensor, rows: Tensor) -> Float[Tensor, "row token"]:
        """Logits of the next token at some rows of the flattened sequences, in float32."""
        chosen = states.flatten(0, 1)[rows.to(states.device)]
        are_logits = self.parts.body is self.core  # a family whose body is the whole model
        return (chosen if are_logits else self.parts.readout(chosen)).float()

    def token_losses(self, batch: LessonBatch) -> Float[Tensor, " target"]:
        """Cross-entropy of each learnt token, in nats."""
        return cross_entropy(self.logits(self.states(batch.token_ids), batch.rows), batch.targets)


def cross_entropy(logits: Float[Tensor, "row token"], targets: Tensor) -> Float[Tensor, " row"]:
    """Cross-entropy of each row, in nats."""
    return nn.functional.cross_entropy(logits, targets.to(logits.device), reduction="none")


def small_learner(decoder: FactorisedDecoder) -> Learner:
    """A small student that was built here."""
    decoder.train(False)
    return Learner(decoder, watch_factorised(decoder), lambda: materialise(decoder))


def folder_learner(model: "PreTrainedModel", lora_rank: int | None, seed: int) -> Learner:
    """A student that starts from a folder's weights, without dropout: batches alone are drawn.

    Args:
        model: loaded, on its device.
        lora_rank: train adapters of this rank on every linear map of the layers but the attention's output projection, since a
            head's write is read off its plain weight; null: all weights.
        seed: draws the adapters.

    Raises:
        ModelRefusedError: its heads cannot be watched.
        ConfigError: it has no map for an adapter.
    """
    model.train(False)
    if lora_rank is None:
        model.requires_grad_(True)
        return Learner(model, watch_heads(model), lambda: model.cpu())
    parts = watch_heads(model)
    adapted = _adapt(model, adapted_names(model, parts), lora_rank, seed)
    return Learner(model, parts, lambda: adapted.merge_and_unload().cpu())


def adapted_names(model: nn.Module, parts: DecoderParts) -> list[str]:
    """Names of the linear maps inside the layers, but for the attention's output projections."""
    from transformers.pytorch_utils import Conv1D

    inside = {id(module) for block in parts.blocks for module in block.modules()}
    left = {id(module) for module in parts.projections}
    kinds = (nn.Linear, Conv1D)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds) and id(module) in inside and id(module) not in left
    ]


def _adapt(model: "PreTrainedModel", names: Sequence[str], rank: int, seed: int) -> Any:  # peft's own wrapper
    from peft import LoraConfig, get_peft_model

    if not names:
        raise ConfigError(
            f"{type(model).__name__}: has no linear map that an adapter fits; set decoder_students.lora_rank to null"
        )
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(names), task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    adapted.train(False)
    return adapted


def take_weights(learner: Learner) -> dict[str, Tensor]:
    """A copy of the trained weights on the CPU."""
    return {name: weight.detach().cpu().clone() for name, weight in learner.weights().items()}


@torch.no_grad()
def put_weights(learner: Learner, kept: Mapping[str, Tensor]) -> None:
    """Set the trained weights."""
    for name, weight in learner.weights().items():
        weight.copy_(kept[name])


def parameter_counts(model: "PreTrainedModel") -> tuple[int, int]:
    """Numbers of a plain model, and of its layers alone."""
    table = model.get_input_embeddings().get_parameter("weight")
    every = {id(weight): weight for weight in model.parameters()}
    body = sum(weight.numel() for weight in every.values() if weight.shape != table.shape)
    return sum(weight.numel() for weight in every.values()), body
