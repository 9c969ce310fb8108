"""How good the traces are that a published decoder writes of test documents, against gold and beside its teacher.

python -m tests.bench.decoder_quality ROOT DATASET [COUNT]
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from schemas.config import PipelineConfig
from schemas.errors import MissingTableError
from schemas.refs import RunRef, TableRef
from schemas.stages import STAGES
from tasks.sequences.compact import CompactForm, WrittenTrace, compact_prompt, label_tokens, read_compact
from tasks.sequences.generation import continue_greedily
from warehouse.decoder_store import load_decoder_description
from warehouse.parquet import read_table
from warehouse.published import find_inputs, latest_output

RESAMPLES = 1000
MOST_WRITTEN = 256
BATCH = 64


def say(text: str) -> None:
    """One line of the result."""
    sys.stdout.write(text + "\n")


def interval(values: Sequence[float]) -> str:
    """Mean with the 95% bootstrap interval over documents."""
    array = np.array(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), [2.5, 97.5])
    return f"{array.mean():.3f} [{low:.3f}, {high:.3f}]"


def targets_of(relevance: pl.DataFrame) -> dict[str, set[int]]:
    """Known targets of each document."""
    known = relevance.filter((pl.col("relevance") > 0) & ~pl.col("is_filtered"))
    targets: dict[str, set[int]] = {}
    for document, label in known.select("document_id", "label_id").iter_rows():
        targets.setdefault(document, set()).add(label)
    return targets


def scores(ranking: Sequence[int], targets: set[int]) -> tuple[float, float]:
    """P@1 and R@10 of one ranking."""
    return float(ranking[:1] != [] and ranking[0] in targets), len(set(ranking[:10]) & targets) / len(targets)


def write_traces(folder: Path, documents: Mapping[str, str], form: CompactForm) -> dict[str, WrittenTrace]:
    """What the decoder writes of these documents; prints its pace."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompts = tokenizer([compact_prompt(text, form) for text in documents.values()], add_special_tokens=False)["input_ids"]
    started = time.process_time()
    ids = continue_greedily(model, prompts, tokenizer.pad_token_id, tokenizer.eos_token_id, MOST_WRITTEN, BATCH)
    say(f"written: {sum(map(len, ids)) / (time.process_time() - started):,.0f} tokens a CPU second")
    labels = {token: label for label, token in form.tokens.items()}
    return {document: read_compact(str(tokenizer.decode(one)), labels) for document, one in zip(documents, ids, strict=True)}


def main(root: Path, dataset: str, count: int) -> None:
    """Print the losses and the quality of the published decoder."""
    run = RunRef(root=str(root.resolve()), run_id="bench", dataset=dataset, command="bench", config=PipelineConfig())
    output = latest_output(run, "decoder")
    if output is None:
        raise MissingTableError(f"{dataset}: no decoder is published; run `ctd decoder {dataset}`")
    folder = Path(output.artifacts[0].path)
    description, tables = load_decoder_description(folder), find_inputs(run, STAGES["heads"]).tables
    say(description.model_dump_json(exclude={"dev_document_ids", "fingerprint"}, indent=1))
    labels = read_table(tables["core_labels"])
    form = CompactForm(
        label_tokens(dict(labels.select("label_id", "label_uid").iter_rows())), {},
        description.settings.document_words, description.settings.evidence_words,
    )  # fmt: skip
    targets = targets_of(read_table(tables["core_relevance"]))
    test = read_table(tables["core_documents"]).filter((pl.col("split") == "test") & pl.col("document_id").is_in(list(targets)))
    documents = dict(test.select("document_id", "document_text").head(count).iter_rows())
    written = write_traces(folder, documents, form)
    show(tables, targets, documents, written)


def show(
    tables: Mapping[str, TableRef],
    targets: Mapping[str, set[int]],
    documents: Mapping[str, str],
    written: Mapping[str, WrittenTrace],
) -> None:
    """Print format, P@1 and R@10 of decoder and teacher."""
    say(f"{len(documents)} test documents; form kept: {interval([float(one.is_whole) for one in written.values()])}")
    answers = read_table(tables["core_answers"]).filter(pl.col("document_id").is_in(list(documents))).drop_nulls("label_id")
    taught: dict[str, list[int]] = {}
    for document, label in answers.sort("rank").select("document_id", "label_id").iter_rows():
        taught.setdefault(document, []).append(label)
    rankings = {
        "decoder's answers": {document: list(one.answers) for document, one in written.items()},
        "and the rest of its shortlist": {d: list(dict.fromkeys(one.answers + one.shortlist)) for d, one in written.items()},
        "teacher's answers": {document: taught.get(document, []) for document in documents},
    }
    for name, ranking in rankings.items():
        found = [scores(ranking[document], targets[document]) for document in documents]
        say(f"{name:32} P@1 {interval([one for one, _ in found])}  R@10 {interval([one for _, one in found])}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 500)
