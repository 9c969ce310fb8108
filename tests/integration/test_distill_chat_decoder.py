"""Students of a chat model's folder: `answers` reads the same documents as the others, and of their traces the answers alone."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from schemas.refs import RunRef, StageInputs, StageResult
from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.classroom.task import Classroom, open_classroom
from tasks.decoder_students.task import distill_decoder_students
from tasks.open_models.lessons import NO_PHASE, Lesson
from tasks.open_models.task import locate_model
from tests.integration.test_distill_decoder import score_rows, small
from tests.support.planted_stage import EMBED, NAMES, Rows, all_rows, planted_inputs, planted_run, put, settings
from tests.support.tiny_teacher import train_tokenizer
from warehouse.decoder_students_store import load_student_description, students_dir
from warehouse.parquet import read_table

METHODS: tuple[DecoderMethod, ...] = ("answers", "cot", "mechanistic")
PROMPT = "Choose labels.\n{document}\nGo.\n"
UNANSWERED = "train3"


def written_rows() -> Rows:
    """The planted traces with an answer section in JSON; of one trace the answers stand among its steps, as they do there."""
    rows = all_rows()
    said: dict[str, str] = {}
    for raw in rows["raw_traces"]:
        name = str(raw["document_id"])
        kept = [one["mention_text"] for one in rows["core_answers"] if one["document_id"] == name]
        said[name] = str(raw["completion_text"]) + ("" if name == UNANSWERED else "\n" + json.dumps({"answer": kept}))
        raw["completion_text"] = said[name]
    rows["core_answers"] = [one | place_of_answer(one, said[str(one["document_id"])]) for one in rows["core_answers"]]
    rows["core_traces"] = [one | {"answer_format": "json"} for one in rows["core_traces"]]
    return rows


def place_of_answer(answer: dict[str, object], text: str) -> dict[str, object]:
    """Where the JSON of a text names an answer; nothing where there is no JSON."""
    mention = str(answer["mention_text"])
    start = text.find(f'"{mention}"') + 1
    return {"char_start": start, "char_end": start + len(mention)} if start else {}


def chat_folder(path: Path, texts: list[str]) -> Path:
    """A random Llama with a chat template."""
    tokenizer = train_tokenizer(texts)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def prepared(root: Path) -> tuple[RunRef, StageInputs, DecoderStudentsConfig]:
    """A run whose teacher is a chat model, and students that start from it."""
    rows = written_rows()
    folder = chat_folder(root / "chat", [str(raw["completion_text"]) for raw in rows["raw_traces"]])
    run = planted_run(root, settings(model=str(folder), prompt_text=PROMPT))
    inputs = planted_inputs(run, rows)
    scores = put(run, "core_head_scores", score_rows("chat", layers=2))
    inputs = inputs.model_copy(update={"tables": inputs.tables | {"core_head_scores": scores}})
    asked = small(student=str(folder), methods=METHODS, batch_size=8)
    run = run.model_copy(update={"config": run.config.model_copy(update={"decoder_students": asked})})
    return run, inputs, asked


def open_room_of(run: RunRef, inputs: StageInputs, asked: DecoderStudentsConfig) -> Classroom:
    return open_classroom(run, inputs, locate_model(run), asked, run.config.heads, EMBED)


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    return open_room_of(*prepared(tmp_path_factory.mktemp("classroom")))


def learnt(lesson: Lesson, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(lesson.token_ids[lesson.phases != NO_PHASE]))


def read(lesson: Lesson, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(lesson.token_ids[lesson.phases == NO_PHASE]))


def test_answers_learns_the_section_alone_after_the_prompt_that_cot_reads(classroom: Classroom) -> None:
    tokenizer, traces = classroom.room.loaded.tokenizer, classroom.lessons(True)
    answers = classroom.lessons(False)
    assert len(answers.train) == len(classroom.split.train) > 40
    for name, answer, trace in zip(classroom.split.train, answers.train, traces.train, strict=True):
        assert read(answer, tokenizer) == read(trace, tokenizer)
        assert classroom.room.texts.documents[name] in read(answer, tokenizer)
        found, whole = learnt(answer, tokenizer), learnt(trace, tokenizer)
        if name == UNANSWERED:
            assert found == ""
            continue
        assert found.endswith("<|end|>")
        chosen = json.loads(found.removesuffix("<|end|>"))["answer"]
        assert chosen
        assert set(chosen) < set(NAMES)
        assert whole.endswith(found)
        assert len(whole) > len(found)


def test_batches_are_drawn_by_the_whole_traces_whatever_is_learnt(classroom: Classroom) -> None:
    assert classroom.lessons(False).lengths == classroom.lessons(True).lengths


def trained(root: Path) -> tuple[RunRef, StageResult]:
    run, inputs, asked = prepared(root)
    return run, distill_decoder_students.fn(run, inputs, locate_model(run), asked, run.config.heads, EMBED)


def test_answers_of_a_chat_teacher_stand_beside_the_other_methods(tmp_path: Path) -> None:
    run, result = trained(tmp_path)
    losses = read_table(next(ref for ref in result.tables if ref.table == "core_train_steps"))
    last = losses.filter(train_step=5)
    assert set(losses["system"]) == {f"decoder-{method}" for method in METHODS}
    assert set(last.filter(system="decoder-answers", loss_name="answer_loss")["loss_nats"].is_finite()) == {True}
    assert last.filter(
        pl.col("system") == "decoder-answers", pl.col("loss_name").is_in(["shortlist_loss", "refine_loss"])
    ).is_empty()
    folders = [students_dir(run.root_path, run.run_id) / f"decoder-{method}-seed0" for method in METHODS]
    described = [load_student_description(folder) for folder in folders]
    assert len({(one.step_count, one.document_count, one.dev_document_ids) for one in described}) == 1
    cards = [(folder / "README.md").read_text() for folder in folders]
    assert [f"| of these without a token to learn | {count} |" in card for card, count in zip(cards, (1, 0, 0), strict=True)] == [
        True, True, True,
    ]  # fmt: skip
