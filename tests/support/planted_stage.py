"""A dataset with traces, and the planted decoder published for it: what the heads stage is given, as earlier stages leave it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from schemas.config import DecoderConfig, EmbedConfig, HeadsConfig, PipelineConfig
from schemas.decoders import DecoderDescription
from schemas.refs import RunRef, StageCost, StageInputs, StageOutput, TableRef
from schemas.tables import TABLES
from tasks.labels.task import open_embedder
from tests.support.label_indexes import save_exact_index
from tests.support.planted_decoder import FIRST_ANCHOR, FIRST_WORD, TOPICS, WORDS, planted_decoder
from warehouse.decoder_store import decoder_dir, save_decoder
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, write_table
from warehouse.published import save_output

EMBED = EmbedConfig()
NAMES = ("editor", "server", "picture", "database", "game", "music", "letter", "map")
ANCHORS = ("typing", "hosting", "drawing", "storing", "playing", "hearing", "mailing", "driving")
PLAIN = tuple(f"plain{chr(97 + i)}" for i in range(WORDS))
TRAIN, DEV, TEST = 12, 40, 24
"""Documents; those of development are train documents too."""

Rows = dict[str, list[dict[str, object]]]


def settings(**changes: object) -> HeadsConfig:
    """Settings small enough for a test."""
    small: dict[str, object] = {
        "model": "decoder", "score_documents": 40, "patch_documents": 8, "random_draws": 2, "generated_draws": 1,
        "bootstrap_count": 100, "bins": (1, 2), "positions": 4, "dynamics_heads": 1, "device": "cpu", "family_size": 8,
    }  # fmt: skip
    return HeadsConfig.model_validate(small | changes)


def tokenizer() -> PreTrainedTokenizerFast:
    """The planted decoder's tokens as words of the compact form."""
    marks = ["<pad>", "<document>", "<shortlist>", "<refine>", "<keep>", "<drop>", "<answer>", "<end>"]
    tokens = [*marks, *ANCHORS, *PLAIN, *(f"@u{topic}" for topic in range(TOPICS))]
    assert tokens.index(ANCHORS[0]) == FIRST_ANCHOR
    assert tokens.index(PLAIN[0]) == FIRST_WORD
    inner = Tokenizer(models.WordLevel({token: place for place, token in enumerate(tokens)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, unk_token="<pad>", pad_token="<pad>", eos_token="<end>"
    )


def document_ids() -> list[str]:
    return [*(f"train{i}" for i in range(TRAIN)), *(f"dev{i}" for i in range(DEV)), *(f"test{i}" for i in range(TEST))]


def document_rows(number: int, name: str) -> Rows:
    """A document with anchors of two or three topics, and its trace: these kept, three others dropped."""
    draw = np.random.default_rng(number)
    topics = draw.permutation(TOPICS).tolist()
    kept, dropped = topics[: 2 + number % 2], topics[5:]
    words = [*(PLAIN[i] for i in draw.integers(0, WORDS, 9)), *(ANCHORS[i] for i in kept)]
    text = " ".join(words[i] for i in draw.permutation(len(words)))
    shortlist = draw.permutation(kept + dropped).tolist()
    steps = [*(f"{NAMES[one]} fits, the text speaks of {ANCHORS[one]}" for one in kept), *(f"{NAMES[d]} no" for d in dropped)]
    said = "\n".join([*(NAMES[one] for one in shortlist), *steps])
    split = "test" if name.startswith("test") else "train"
    key: dict[str, object] = {"trace_id": f"t-{name}", "document_id": name, "request_hash": f"r-{name}"}

    def place(of: str) -> dict[str, object]:
        return {"span_source": "completion_text", "char_start": said.index(of), "char_end": said.index(of) + len(of)}

    def step(at: int) -> dict[str, object]:
        is_kept = at < len(kept)
        label = kept[at] if is_kept else dropped[at - len(kept)]
        judged = {"verdict": "keep", "target_label_id": label} if is_kept else {"verdict": "drop", "near_miss_label_id": label}
        share = {"step": at, "position": (5 + at) / (4 + len(steps)), "phase": "refine", "step_text": steps[at]}
        return key | place(steps[at]) | share | judged

    entries = [
        key | place(NAMES[one]) | {"rank": r, "label_id": one, "mention_text": NAMES[one]} for r, one in enumerate(shortlist, 1)
    ]
    return {
        "core_documents": [{"document_id": name, "split": split, "document_text": text}],
        "core_relevance": [
            {"document_id": name, "split": split, "label_id": one, "relevance": 1.0, "is_filtered": False} for one in kept
        ],
        "raw_traces": [key | {"completion_text": said, "split": split}],
        "core_traces": [key | {"split": split, "variant": "both", "sample_index": 0}],
        "core_shortlist": entries,
        "core_steps": [step(at) for at in range(len(steps))],
        "core_answers": [entry for entry in entries if entry["label_id"] in kept],
    }


def all_rows() -> Rows:
    rows: Rows = {
        "core_labels": [
            {"label_id": i, "label_uid": f"u{i}", "label_name": name, "description_text": ""} for i, name in enumerate(NAMES)
        ]
    }
    for number, name in enumerate(document_ids()):
        for table, more in document_rows(number, name).items():
            rows.setdefault(table, []).extend(more)
    return rows


def put(run: RunRef, name: str, rows: Sequence[dict[str, object]]) -> TableRef:
    """Rows as a table; columns that are not given are null."""
    table = TABLES[name]
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(dataset=pl.lit(run.dataset)) if rows else table.empty()
    missing = [pl.lit(None).alias(column) for column in table.columns if column not in frame.columns]
    return write_table(run, "given", table, table.conform(frame.with_columns(missing)))


def planted_run(root: Path, heads: HeadsConfig | None = None, run_id: str = "r1") -> RunRef:
    """A run of the dataset."""
    config = PipelineConfig(heads=heads or settings())
    return RunRef(root=str(root), run_id=run_id, dataset="planted", command="heads", config=config)


def planted_inputs(run: RunRef, rows: Rows | None = None) -> StageInputs:
    """Tables and index of the dataset."""
    tables = {name: put(run, name, some) for name, some in (rows or all_rows()).items()}
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    vectors = open_embedder(run, EMBED, EMBED.label_tokens).embed(NAMES)
    label_ids = np.arange(len(NAMES), dtype=np.int32)
    save_exact_index(path, label_ids, np.array(vectors, dtype=np.float32), tables["core_labels"].content_hash)
    return StageInputs(tables=tables, artifacts={"label_index": artifact_ref(run, "index", "label_index", path)})


def publish_decoder(run: RunRef, model: PreTrainedModel | None = None, words: PreTrainedTokenizerFast | None = None) -> None:
    """The planted decoder (or another model, with another tokenizer) as the stage `decoder` publishes it."""
    made, path = model or planted_decoder(layers=4), decoder_dir(run.root_path, run.run_id)
    description = {
        "dataset": run.dataset, "run_id": run.run_id, "fingerprint": "f", "settings": DecoderConfig().model_dump(),
        "embedder": "none", "label_count": TOPICS, "word_count": WORDS, "token_count": 48, "body_parameter_count": 1,
        "parameter_count": 1, "document_count": TRAIN, "left_out_count": 0,
        "dev_document_ids": [f"dev{i}" for i in range(DEV)], "unknown_frac": 0.0, "dev_losses": {}, "format_frac": 1.0,
        "format_document_count": 1, "train_cpu_s": 1.0, "tokens_per_cpu_s": 1.0, "written_tokens_per_cpu_s": 1.0,
    }  # fmt: skip

    def write(folder: Path) -> None:
        made.save_pretrained(folder)
        (words or tokenizer()).save_pretrained(folder)

    save_decoder(path, write, DecoderDescription.model_validate_json(json.dumps(description)), "", pl.DataFrame({"a": [1]}))
    output = StageOutput(
        stage="decoder", dataset=run.dataset, run_id=run.run_id, fingerprint="f", inputs=(), tables=(),
        artifacts=(artifact_ref(run, "decoder", "decoder", path),), cost=StageCost(), duration_s=0.0, published_at="",
    )  # fmt: skip
    save_output(run, output)
