"""A decoder of compact texts behind `transformers serve` is a teacher like any other: asked, parsed and linked."""

from pathlib import Path

import polars as pl

from schemas.config import ParseConfig, TeacherConfig
from tasks.open_models.vocabulary import Vocabulary
from tasks.parsing.task import parse_traces
from tasks.sequences.compact import CompactForm, compact_prompt, compact_words, label_tokens
from tasks.traces.task import generate_traces
from tests.integration.test_transformers_serve import transformers_serve
from tests.integration.traced_run import EMBED, traced_run
from tests.support.compact_decoder import build_compact_decoder
from warehouse.parquet import read_table

WORDS = 12


def known_answers(documents: pl.DataFrame, tokens: dict[int, str], form: CompactForm) -> dict[str, tuple[str, int, int]]:
    """For each prompt the answer to learn, its kept label and its dropped one; texts that read the same have one."""
    known: dict[str, tuple[str, int, int]] = {}
    ids = list(tokens)
    for place, text in enumerate(documents["document_text"]):
        kept, dropped = ids[place % len(ids)], ids[(place + 1) % len(ids)]
        a, b = tokens[kept], tokens[dropped]
        word = compact_words(text, form)[0]
        answer = f"<shortlist> {b} {a} <refine> <drop> {b} <keep> {a} {word} <answer> {a}"
        known.setdefault(compact_prompt(text, form), (answer, kept, dropped))
    return known


def test_a_served_decoder_is_a_teacher_whose_traces_are_parsed_and_linked(tmp_path: Path) -> None:
    run, inputs = traced_run(tmp_path)
    labels, documents = (read_table(inputs.tables[name]) for name in ("core_labels", "core_documents"))
    tokens = label_tokens(dict(labels.select("label_id", "label_uid").iter_rows()))
    form = CompactForm(tokens, {}, WORDS, 1)
    known = known_answers(documents, tokens, form)
    words = sorted({word for text in documents["document_text"] for word in compact_words(text, form)})
    vocabulary = Vocabulary(tuple(tokens), tuple(tokens.values()), tuple(words))
    texts = [f"{prompt} {answer} <end>" for prompt, (answer, _, _) in known.items()]
    assert build_compact_decoder(tmp_path / "model", vocabulary, WORDS, texts) < 0.05
    model = str(tmp_path / "model")
    with transformers_serve(Path(model), tmp_path / "hf") as base_url:
        teacher = TeacherConfig(
            base_url=base_url, model=model, prompt_kind="open", answer_form="free", max_completion_tokens=64, concurrency=2
        )
        result = generate_traces.fn(run, inputs, teacher, EMBED)
    raw = read_table(result.tables[0]).join(documents.select("document_id", "document_text"), on="document_id")
    expected = {name: known[compact_prompt(text, form)] for name, text in raw.select("document_id", "document_text").iter_rows()}
    assert dict(raw.select("document_id", "completion_text").iter_rows()) == {name: one[0] for name, one in expected.items()}
    assert set(raw["finish_reason"]) == {"stop"}
    inputs = inputs.model_copy(update={"tables": inputs.tables | {"raw_traces": result.tables[0]}})
    parsed = {ref.table: read_table(ref) for ref in parse_traces.fn(run, inputs, ParseConfig(), EMBED).tables}
    assert parsed["core_rejects"].is_empty()
    assert dict(parsed["core_answers"].select("document_id", "label_id").iter_rows()) == {
        n: kept for n, (_, kept, _) in expected.items()
    }
    assert parsed["core_shortlist"]["label_id"].null_count() == 0
    assert set(parsed["core_traces"]["boundary_step"]) == {2}
    judged = parsed["core_steps"].filter(pl.col("phase") == "refine")
    assert set(judged.filter(pl.col("verdict") == "keep").select("document_id", "target_label_id").iter_rows()) == {
        (name, kept) for name, (_, kept, _) in expected.items()
    }
    assert set(judged.filter(pl.col("verdict") == "drop").select("document_id", "near_miss_label_id").iter_rows()) == {
        (name, dropped) for name, (_, _, dropped) in expected.items()
    }
