"""A trained decoder student behind `transformers serve`: asked by `ctd trace` it says what it says when it is asked directly."""

from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from schemas.config import ParseConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs
from schemas.student_settings import DecoderStudentsConfig
from tasks.decoder_students.task import distill_decoder_students
from tasks.open_models.task import locate_model
from tasks.open_models.vocabulary import Vocabulary, make_tokenizer
from tasks.parsing.task import parse_traces
from tasks.sequences.compact import END, CompactForm, compact_prompt, label_tokens
from tasks.traces.task import generate_traces
from tests.integration.test_transformers_serve import transformers_serve
from tests.support.planted_stage import ANCHORS, EMBED, NAMES, PLAIN, planted_inputs, planted_run, publish_decoder, put
from warehouse.decoder_store import load_decoder_description
from warehouse.decoder_students_store import students_dir
from warehouse.parquet import read_table

TOKENS = label_tokens({label: f"u{label}" for label in range(len(NAMES))})
MOST_TOKENS, ASKED = 64, 8
USABLE = 0.8
"""Of what a student of 200 steps writes; 52 documents are what it has read."""


def trained_student(root: Path) -> tuple[RunRef, StageInputs, Path, CompactForm]:
    """A `cot` student as `distill_decoder_students` leaves it; its teacher's weights are random, which it does not see."""
    students = DecoderStudentsConfig(methods=("cot",), seeds=(0,), train_steps=200, dev_frac=0.1, device="cpu")
    run = planted_run(root)
    run = run.model_copy(update={"config": run.config.model_copy(update={"decoder_students": students})})
    words = sorted({*ANCHORS, *PLAIN})
    tokenizer = make_tokenizer(Vocabulary(tuple(TOKENS), tuple(TOKENS.values()), tuple(words)), 48)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    publish_decoder(run, LlamaForCausalLM(config), tokenizer)
    inputs = planted_inputs(run)
    inputs = inputs.model_copy(update={"tables": inputs.tables | {"core_head_scores": put(run, "core_head_scores", [])}})
    model = locate_model(run)
    distill_decoder_students.fn(run, inputs, model, students, run.config.heads, EMBED)
    made = load_decoder_description(Path(model.path)).settings
    form = CompactForm(TOKENS, dict(enumerate(NAMES)), made.document_words, made.evidence_words)
    return run, inputs, students_dir(run.root_path, run.run_id) / "decoder-cot-seed0", form


def direct_texts(folder: Path, prompts: dict[str, str]) -> dict[str, str]:
    """What the student writes after each prompt, without the mark that ends it."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)  # its `generate` is typed for a mixin that it is not
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = {}
    for name, prompt in prompts.items():
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST_TOKENS, do_sample=False)
        said[name] = " ".join(map(str, tokenizer.convert_ids_to_tokens(out[0, ids.shape[1] :].tolist()))).removesuffix(f" {END}")
    return said


def test_a_served_student_says_what_it_says_when_it_is_asked_directly_and_is_parsed(tmp_path: Path) -> None:
    run, inputs, folder, form = trained_student(tmp_path)
    documents = read_table(inputs.tables["core_documents"])
    prompts = {name: compact_prompt(text, form) for name, text in documents.select("document_id", "document_text").iter_rows()}
    with transformers_serve(folder, tmp_path / "hf") as base_url:
        teacher = TeacherConfig(
            base_url=base_url, model=str(folder), prompt_kind="open", answer_form="free", max_completion_tokens=MOST_TOKENS,
            concurrency=2, max_documents=ASKED,
        )  # fmt: skip
        result = generate_traces.fn(run, inputs, teacher, EMBED)
    raw = read_table(result.tables[0])
    assert raw.height == 2 * ASKED
    direct = direct_texts(folder, {name: prompts[name] for name in raw["document_id"]})
    assert dict(raw.select("document_id", "completion_text").iter_rows()) == direct
    assert len(set(direct.values())) > ASKED
    inputs = inputs.model_copy(update={"tables": inputs.tables | {"raw_traces": result.tables[0]}})
    parsed = {ref.table: read_table(ref) for ref in parse_traces.fn(run, inputs, ParseConfig(), EMBED).tables}
    assert parsed["core_traces"].height > USABLE * raw.height
    assert parsed["core_answers"]["label_id"].null_count() == 0
    judged = parsed["core_steps"].filter(pl.col("phase") == "refine")
    assert set(judged["verdict"]) == {"keep", "drop"}
