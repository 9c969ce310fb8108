"""Nasty answers the whole way: from what the trace stage can store, through the parser, to Parquet and back."""

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.tables import TABLES
from tasks.parsing.rows import WRITTEN
from tasks.traces.answers import storable
from tests.support.runs import tiny_run
from tests.unit.parsing.nasty import NASTY_NAMES, SURROGATES, TEXTS
from tests.unit.parsing.quoting import Row, assert_rows_sound, parse_texts
from tests.unit.parsing.shapes import SHAPES, assert_linear
from tests.unit.parsing.test_any_answer import MORE
from warehouse.parquet import read_table, write_table

SIZE, FLOOR_S = 8000, 0.02
MEGABYTE = 1_000_000


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_reading_a_long_answer_takes_time_in_proportion(shape: Callable[[int], str]) -> None:
    assert_linear(shape, SIZE, FLOOR_S)


def test_a_megabyte_of_all_shapes_is_stored_as_it_was_read(tmp_path: Path) -> None:
    shapes = list(SHAPES.values())
    random.Random(0).shuffle(shapes)
    text = storable("\n".join(shape(MEGABYTE // len(shapes))[: MEGABYTE // len(shapes)] for shape in shapes))
    assert len(text) > 0.98 * MEGABYTE
    written = store_and_read(tmp_path, (text, None, {}), ("vim", text[::-1], {"finish_reason": "length"}))
    assert written["core_steps"].height > 1000


@pytest.mark.parametrize("half", SURROGATES, ids=ascii)
def test_halves_of_characters_do_not_reach_a_table(tmp_path: Path, half: str) -> None:
    """The trace stage stores question marks for them; an escape of one in JSON becomes the replacement character."""
    escaped = "".join(f"\\u{ord(char):04x}" for char in half)
    texts = [f'{{"shortlist": ["vim", "x{said}y"], "answer": ["vim", "{said}"]}}' for said in (storable(half), escaped)]
    written = store_and_read(tmp_path, *((text, f"Candidates: vim. I keep vim{half}.".replace(half, "?"), {}) for text in texts))
    assert written["core_answers"]["label_id"].drop_nulls().len() == 2


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(TEXTS.map(storable), st.one_of(st.none(), TEXTS.map(storable)), MORE), min_size=1, max_size=4))
def test_any_row_that_can_be_stored_is_sound_in_parquet(tmp_path_factory: pytest.TempPathFactory, texts: list[Row]) -> None:
    store_and_read(tmp_path_factory.mktemp("any"), *texts)


@pytest.mark.parametrize("form", ["json", "tagged", "prose"])
def test_answers_cut_at_every_character_are_sound(form: str) -> None:
    names = NASTY_NAMES[:40:3]
    text = {
        "json": '{"shortlist": ["' + '", "'.join(name.replace('"', '\\"') for name in names) + '"], "answer": ["edit\\u00e9"]}',
        "tagged": "<shortlist>\n"
        + "\n".join(names)
        + "\n</shortlist>\n<reasoning>\n<step>edit: keep</step>\n</reasoning>\n<answer>\nedit",
        "prose": "Candidates: "
        + ", ".join(names)
        + ".\n\nI keep edit. "
        + " and ".join(names)
        + " are out.\n\nFinal answer:\n- edit",
    }[form]
    assert_rows_sound(*parse_texts(*((text[:end], None, {"finish_reason": "length"}) for end in range(len(text) + 1))))


def store_and_read(folder: Path, *texts: Row) -> dict[str, pl.DataFrame]:
    """The tables of these answers, written and read again: sound, and as they were."""
    raw, tables = parse_texts(*texts)
    assert_rows_sound(raw, tables)
    run = tiny_run(folder)
    written = {table.name: read_table(write_table(run, "parse", table, tables[table.name])) for table in WRITTEN}
    assert all(written[name].equals(tables[name]) for name in written)
    assert all(frame.schema == TABLES[name].schema for name, frame in written.items())
    return written
