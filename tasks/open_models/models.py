"""The decoder whose heads are measured, loaded from a folder; nothing is downloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from schemas.config import HeadsConfig
from schemas.errors import ConfigError, ModelRefusedError
from tasks.open_models.devices import choose_device
from tasks.open_models.families import DecoderParts
from tasks.open_models.watching import watch_heads
from tasks.sequences.tokens import check_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZER = "tokenizer.json"
DECODER = "decoder"
"""The name of the model that is trained here on traces."""


@dataclass(frozen=True)
class ModelRef:
    """A decoder on disk; `is_compact`: it reads and writes traces in compact form, as the one that is trained here."""

    path: str
    content_hash: str
    name: str
    is_compact: bool


@dataclass(frozen=True)
class LoadedModel:
    """A decoder ready to be measured, in evaluation mode, its heads watched; `device` is that of its first layer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    parts: DecoderParts
    device: torch.device
    max_tokens: int
    """Longest sequence: what the settings allow and the model has positions for."""

    @property
    def pad_id(self) -> int:
        """What stands where there is no token; it is masked, so any token will do where the tokenizer has none for it."""
        known = self.tokenizer.pad_token_id
        return 0 if known is None else int(known)


def check_folder(path: Path, setting: str = "heads.model") -> None:
    """Refuse a folder that holds no decoder; `setting` names it.

    Raises:
        ConfigError: it is not there, or has no configuration, weights or fast tokenizer.
    """
    if not path.is_dir():
        raise ConfigError(f"{setting} = {str(path)!r}: there is no such folder; a local Hugging Face folder is needed")
    missing = [name for name in ("config.json", TOKENIZER) if not (path / name).is_file()]
    missing += [] if any(found for pattern in WEIGHTS for found in path.glob(pattern)) else ["weights (*.safetensors)"]
    if missing:
        raise ConfigError(
            f"{setting} = {str(path)!r}: {', '.join(missing)} missing; a folder as `save_pretrained` of model and fast "
            "tokenizer writes it is needed, nothing is downloaded"
        )


def load_model(ref: ModelRef, settings: HeadsConfig) -> LoadedModel:
    """The decoder of a folder on the configured device.

    Raises:
        ConfigError: the device is not there, or the folder cannot be loaded.
        ModelRefusedError: its heads cannot be measured, or its tokenizer gives no offsets or is another model's.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = choose_device(settings.device, "heads")
    precision = torch.float32 if ref.is_compact or settings.precision == "float32" else torch.bfloat16
    try:
        tokenizer = AutoTokenizer.from_pretrained(ref.path, local_files_only=True)
        model = _place(partial(AutoModelForCausalLM.from_pretrained, ref.path, local_files_only=True, dtype=precision), device)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as exc:
        raise ConfigError(f"heads.model = {ref.path!r} cannot be loaded as a causal decoder: {exc}") from exc
    model.train(False)
    check_tokenizer(tokenizer)
    known = model.get_input_embeddings().get_parameter("weight").shape[0]
    if len(tokenizer) > known:
        raise ModelRefusedError(
            f"{ref.name}: its tokenizer has {len(tokenizer)} tokens, the model {known}: they do not belong together"
        )
    parts = watch_heads(model)
    positions = getattr(model.config, "max_position_embeddings", None) or settings.max_tokens
    first = next(parts.blocks[0].parameters()).device
    return LoadedModel(model, tokenizer, parts, first, min(settings.max_tokens, int(positions)))


def _place(load: Callable[..., "PreTrainedModel"], device: torch.device) -> "PreTrainedModel":
    """All layers on one device; several CUDA devices share them (`device_map` auto, which needs accelerate)."""
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return load(device_map="auto")
    model: PreTrainedModel = load().to(device)  # type: ignore[arg-type]
    return model
