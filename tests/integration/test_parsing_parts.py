"""Parsing part by part: the same tables whatever the processes and the parts, and after a kill at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from schemas.config import ParseConfig
from schemas.errors import InputFormatError, SchemaMismatchError, StorageError, WorkerLostError
from schemas.refs import RunRef, StageInputs
from schemas.tables import CORE_REJECTS, CORE_TRACES
from tasks.parsing.rows import WRITTEN
from tasks.parsing.tables import RejectCount, parse_parts
from tasks.parsing.task import parse_traces
from tests.contract.test_imports import ROOT
from tests.integration.traced_run import ANSWERS, EMBED, store_vectors, traced_run, unit
from tests.unit.parsing.quoting import name_linker
from tests.unit.parsing.reading import CATALOGUE
from tests.unit.parsing.test_hostile import PROSE, TAGGED, WHOLE
from tests.unit.parsing.test_tables import raw_rows
from warehouse.parquet import iter_table, write_tables_parts

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="tells processes by /proc")

LENIENT = ParseConfig(max_reject_frac=0.5)
UNHEARD = json.dumps({"shortlist": ["vim", "nanoo editorr", "gizmo of sorts"], "answer": ["audacityy", "vim"]})
PARSE = """
import signal
import sys
from schemas.config import ParseConfig
from schemas.refs import RunRef, StageInputs
from tasks.parsing.task import parse_traces
from tests.integration.traced_run import EMBED

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
    run, inputs = RunRef.model_validate_json(sys.argv[1]), StageInputs.model_validate_json(sys.argv[2])
    print("begins", flush=True)
    parse_traces.fn(run, inputs, ParseConfig(max_reject_frac=0.5, process_count=int(sys.argv[3])), EMBED)
"""


def mixed_rows(count: int) -> pl.DataFrame:
    """Answers of every form, with unknown labels, and rejects."""
    texts = [WHOLE, TAGGED, PROSE, UNHEARD, "", "I'm sorry, but I can't help with that."]
    draw = random.Random(0)
    return raw_rows(*({"completion_text": draw.choice(texts).replace("@", str(at))} for at in range(count)))


def parsed(raw: pl.DataFrame, part_rows: int, process_count: int) -> dict[str, pl.DataFrame]:
    parts = list(parse_parts(raw.iter_slices(part_rows), CATALOGUE, lambda: name_linker(CATALOGUE), RejectCount(), process_count))
    return {table.name: pl.concat([part[table.name] for part in parts]) for table in WRITTEN}


def many_answers(tmp_path: Path, count: int) -> tuple[RunRef, StageInputs]:
    """A run with so many answers, and with the vectors that linking them asks for."""
    answers = tuple({**ANSWERS[at % 4], "request_hash": f"{at:064x}"} for at in range(count))
    run, inputs = traced_run(tmp_path, answers)
    store_vectors(run, {"software for pictures": unit(8), "pocket knife": unit(8)}, EMBED.label_tokens)
    return run, inputs


def tables_of(run: RunRef) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.root_path / "runs" / run.run_id / "parse").iterdir()}


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def ignores_interrupts(process: int) -> bool:
    """True once a reader has started: before, Python's own handler is there. The pool's own resource tracker does so too."""
    ignored = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(processes: list[int]) -> None:
    until = time.monotonic() + 30
    while any(is_running(process) for process in processes):
        assert time.monotonic() < until, "a process outlived the one that started it"
        time.sleep(0.05)


@pytest.mark.parametrize(("part_rows", "process_count"), [(1, 1), (7, 1), (7, 2), (100, 3)])
def test_parse_parts_give_the_same_rows_whatever_the_parts_and_processes(part_rows: int, process_count: int) -> None:
    raw = mixed_rows(100)
    whole, cut = parsed(raw, 100, 1), parsed(raw, part_rows, process_count)
    assert whole["core_shortlist"]["link_method"].is_in(["fuzzy", "none"]).any()
    assert len(whole["core_rejects"]) > 10
    for name, frame in whole.items():
        assert cut[name].equals(frame)


def test_parse_parts_take_no_more_parts_than_are_under_way() -> None:
    given = 0

    def raws() -> Iterator[pl.DataFrame]:
        nonlocal given
        for part in mixed_rows(40).iter_slices(2):
            given += 1
            yield part

    parts = parse_parts(raws(), CATALOGUE, lambda: name_linker(CATALOGUE), RejectCount(), 2)
    next(parts)
    assert given == 4
    parts.close()


def test_a_lost_process_ends_parsing_with_one_error_and_no_process() -> None:
    raw = mixed_rows(400)
    before = set(children_of(os.getpid()))
    parts = parse_parts(raw.iter_slices(2), CATALOGUE, lambda: name_linker(CATALOGUE), RejectCount(), 2)
    next(parts)
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in set(children_of(os.getpid())) - before}
    readers = [child for child, command in commands.items() if b"spawn_main" in command]
    os.kill(readers[0], signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="one of 2 reading processes was ended from outside"):
        list(parts)
    wait_for_end(readers)


@pytest.mark.parametrize("process_count", [1, 2])
def test_parse_traces_after_a_kill_writes_what_an_unbroken_run_writes(tmp_path: Path, process_count: int) -> None:
    run, inputs = many_answers(tmp_path, 6000)
    command = [sys.executable, "-c", PARSE, run.model_dump_json(), inputs.model_dump_json(), str(process_count)]
    stage = run.root_path / "runs" / run.run_id / "parse"
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    while not (list(stage.glob("core_steps.parquet.tmp-*")) and next(stage.glob("core_steps.parquet.tmp-*")).stat().st_size > 4):
        assert child.poll() is None
        time.sleep(0.01)
    readers = children_of(child.pid)
    child.kill()
    child.communicate()
    wait_for_end(readers)
    assert not list(stage.glob("*.parquet"))
    parse_traces.fn(run, inputs, LENIENT, EMBED)
    again = tables_of(run)
    assert sorted(again) == sorted(f"{table.name}.parquet" for table in WRITTEN)
    parse_traces.fn(run, inputs, LENIENT, EMBED)
    assert tables_of(run) == again


def test_parse_traces_interrupted_leaves_no_table_and_no_process(tmp_path: Path) -> None:
    run, inputs = many_answers(tmp_path, 20_000)
    command = [sys.executable, "-c", PARSE, run.model_dump_json(), inputs.model_dump_json(), "2"]
    stage = run.root_path / "runs" / run.run_id / "parse"
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    while not list(stage.glob("core_steps.parquet.tmp-*")) or sum(map(ignores_interrupts, children_of(child.pid))) < 3:
        assert child.poll() is None
        time.sleep(0.01)
    readers = children_of(child.pid)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the readers too
    _, said = child.communicate(timeout=60)
    assert said.decode().count("KeyboardInterrupt") == 1
    wait_for_end(readers)
    assert not list(stage.iterdir())


def test_a_kill_between_renames_publishes_nothing_and_is_written_over(tmp_path: Path) -> None:
    run, inputs = many_answers(tmp_path, 8)
    parse_traces.fn(run, inputs, LENIENT, EMBED)
    whole = tables_of(run)
    stage = run.root_path / "runs" / run.run_id / "parse"
    (stage / "core_steps.parquet").rename(stage / "core_steps.parquet.tmp-1")
    (stage / "core_answers.parquet").write_bytes(b"old")
    assert not (run.root_path / "published" / run.dataset / "parse").exists()
    parse_traces.fn(run, inputs, LENIENT, EMBED)
    assert tables_of(run) == whole


def test_many_rejects_leave_the_earlier_tables_as_they_were(tmp_path: Path) -> None:
    run, inputs = many_answers(tmp_path, 8)
    parse_traces.fn(run, inputs, LENIENT, EMBED)
    whole = tables_of(run)
    with pytest.raises(InputFormatError, match=r"2 of 8 rejected"):
        parse_traces.fn(run, inputs, ParseConfig(max_reject_frac=0.1), EMBED)
    assert tables_of(run) == whole


def test_write_tables_parts_refuses_a_part_of_other_columns(tmp_path: Path) -> None:
    run, _ = many_answers(tmp_path, 4)
    part = {"core_traces": CORE_TRACES.empty(), "core_rejects": CORE_REJECTS.empty().drop("stage")}
    with pytest.raises(SchemaMismatchError, match="core_rejects"):
        write_tables_parts(run, "parse", (CORE_TRACES, CORE_REJECTS), [part])
    assert not list((run.root_path / "runs" / run.run_id / "parse").iterdir())


def test_iter_table_gives_all_rows_in_parts(tmp_path: Path) -> None:
    _, inputs = many_answers(tmp_path, 50)
    parts = list(iter_table(inputs.tables["raw_traces"], 20, ("document_id", "request_hash")))
    assert [len(part) for part in parts] == [20, 20, 10]
    assert pl.concat(parts)["request_hash"].to_list() == [f"{at:064x}" for at in range(50)]


def test_iter_table_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    _, inputs = many_answers(tmp_path, 4)
    ref = inputs.tables["raw_traces"]
    path = Path(ref.path)
    whole = path.read_bytes()
    pl.read_parquet(path).drop("document_id").write_parquet(path)
    with pytest.raises(SchemaMismatchError, match=r"raw_traces: .* has \{\}; declared \{'document_id': String\}"):
        list(iter_table(ref, 20, ("document_id",)))
    for content in (whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"cannot be read.*run `ctd trace tiny` again"):
            list(iter_table(ref, 20, ("document_id",)))
    path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        list(iter_table(ref, 20, ("document_id",)))
