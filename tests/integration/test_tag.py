"""Tag real files with a student trained here, over a real label index and a one-layer embedder."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import EmbedConfig, IndexConfig, PipelineConfig, TagConfig
from schemas.errors import ConfigError, IndexRefusedError, InputFormatError, MissingTableError, PipelineError, StorageError
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult
from schemas.student_settings import DistillConfig
from tasks.labels.task import index_labels
from tasks.students.packing import StudentDescription
from tasks.students.tagging.rows import TAG_SCHEMA
from tasks.students.tagging.task import ChosenStudent, TagOrder, find_student, tag_file
from tasks.students.task import predict_students, train_students
from tests.contract.test_imports import ROOT
from tests.integration.test_students import TEST_COUNT, WORDS, answer_of, trace_rows
from tests.support.given_tables import put
from tests.support.tiny_encoders import save_bert, save_tokenizer
from warehouse.checkpoints import list_students, load_description
from warehouse.parquet import read_table
from warehouse.published import save_output

TRAIN_COUNT = 90
DISTILL = DistillConfig(
    methods=("answers", "mechanistic"), has_supervised_reference=False, seeds=(0,), shortlist_size=5, shortlister_steps=12,
    refiner_steps=6, batch_size=8, dev_frac=0.5,
)  # fmt: skip
BARRED = ("test0", 0)
"""A pair that is left out, and would stand first."""


def documents() -> dict[str, str]:
    texts = {f"train{i}": f"a text about {WORDS[answer_of(i)]}, number {i}" for i in range(TRAIN_COUNT)}
    return texts | {f"test{i}": f"more about {WORDS[answer_of(i)]}, number {i}" for i in range(TEST_COUNT)}


@dataclass(frozen=True)
class World:
    """A data root with a label index and students, as runs leave it."""

    run: RunRef
    inputs: StageInputs
    students: Path

    def tag(self, source: Path, target: Path, student: str = "mechanistic-seed0", **settings: Any) -> dict[str, str]:
        options = {name: settings.pop(name) for name in tuple(settings) if name in TagOrder.model_fields}
        config = self.run.config.model_copy(update={"tag": TagConfig(**{"top": 5, **settings})})
        run = self.run.model_copy(update={"config": config, "command": "tag"})
        chosen = ChosenStudent(folder=str(self.students / student), dataset=run.dataset, root=run.root)
        return dict(tag_file.fn(run, chosen, TagOrder(source=str(source), target=str(target), **options)))


def publish(run: RunRef, stage: str, result: StageResult) -> None:
    save_output(
        run,
        StageOutput(
            stage=stage, dataset=run.dataset, run_id=run.run_id, fingerprint=stage, inputs=(), tables=result.tables,
            artifacts=result.artifacts, cost=result.cost, duration_s=0.0, published_at="2026-01-01T00:00:00Z",
        ),
    )  # fmt: skip


def make_world(root: Path, model: Path) -> World:
    save_bert(model)
    save_tokenizer(model)
    embed = EmbedConfig(model=str(model), document_tokens=16, label_tokens=8)
    run = RunRef(root=str(root), run_id="r1", dataset="tiny", command="distill", config=PipelineConfig(embed=embed))
    splits = {d: d.rstrip("0123456789") for d in documents()}
    rows: dict[str, list[dict[str, object]]] = {
        "core_documents": [
            {"document_id": d, "split": splits[d], "document_text": t, "text_hash": hash_of(t)} for d, t in documents().items()
        ],
        "core_labels": [
            {"label_id": i, "label_uid": w, "label_name": f"{w}: a tool", "description_text": ""} for i, w in enumerate(WORDS)
        ],
        "core_relevance": [
            {
                "document_id": d, "label_id": BARRED[1] if d == BARRED[0] else answer_of(int("".join(filter(str.isdigit, d)))),
                "split": splits[d], "relevance": float(d != BARRED[0]), "is_filtered": d == BARRED[0],
            }
            for d in documents()
        ],
    }  # fmt: skip
    rows |= more_traces()
    tables = {name: put(run, name, table) for name, table in rows.items()}
    publish(run, "ingest", StageResult(tables=tuple(tables[n] for n in ("core_documents", "core_labels", "core_relevance"))))
    index = index_labels.fn(run, StageInputs(tables=tables, artifacts={}), IndexConfig(), embed)
    publish(run, "index", index)
    inputs = StageInputs(tables=tables, artifacts={"label_index": index.artifacts[0]})
    trained = train_students.fn(run, inputs, DISTILL, embed)
    publish(run, "distill", trained)
    artifacts = {**inputs.artifacts, "students": trained.artifacts[0]}
    return World(run, StageInputs(tables=tables, artifacts=artifacts), Path(trained.artifacts[0].path))


def hash_of(text: str) -> str:
    from tasks.labels.embedder import hash_text

    return hash_text(text)


def more_traces() -> dict[str, list[dict[str, object]]]:
    """The traces of the small world, of every train document of this one."""
    wider: dict[str, list[dict[str, object]]] = {}
    for name, rows in trace_rows().items():
        told = [row for row in rows if row["document_id"] in {f"train{i}" for i in range(10, 20)}]
        wider[name] = [
            row | {"trace_id": f"t{i}", "document_id": f"train{i}"}
            for i in range(TRAIN_COUNT)
            for row in told
            if row["document_id"] == f"train{10 + i % 10}"
        ]
    return wider


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("tag")
    return make_world(folder / "root", folder / "model")


def texts(count: int) -> list[dict[str, Any]]:
    return [{"document_id": f"new{i}", "text": f"all about {WORDS[i % len(WORDS)]}, and {i}"} for i in range(count)]


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def skipped(target: Path) -> list[dict[str, Any]]:
    path = target.with_name(f"{target.name}.skipped.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def leftovers(folder: Path) -> list[str]:
    return [
        path.name for path in folder.iterdir() if ".parts-" in path.name or ".tmp-" in path.name or path.name.endswith(".lock")
    ]


def test_tag_file_agrees_with_the_predictions_of_the_evaluation(world: World, tmp_path: Path) -> None:
    predicted = read_table(predict_students.fn(world.run, world.inputs, 5, world.run.config.embed))
    wanted = predicted.filter(pl.col("system") == "mechanistic").sort("document_id", "rank")
    rows = [{"document_id": d, "document_text": t} for d, t in documents().items() if d.startswith("test")]
    world.tag(write_lines(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet", top=5)
    found = pl.read_parquet(tmp_path / "out.parquet").sort("document_id", "rank")
    assert found["document_id"].equals(wanted["document_id"])
    assert found.filter(pl.col("rank") == 1)["label_id"].to_list() == wanted.filter(pl.col("rank") == 1)["label_id"].to_list()
    assert found["score"].to_list() == pytest.approx(wanted["score"].to_list(), abs=1e-3)
    assert found.filter(pl.col("document_id") == BARRED[0], pl.col("label_id") == BARRED[1]).is_empty()


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl", "in.jsonl.gz", "in.csv", "in.csv.gz"])
def test_tag_file_reads_every_format_alike(world: World, tmp_path: Path, name: str) -> None:
    frame, path = pl.DataFrame(texts(30)), tmp_path / name
    content = {"csv": frame.write_csv().encode(), "jsonl": frame.write_ndjson().encode()}.get(name.split(".")[1])
    if content is None:
        frame.write_parquet(path)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    world.tag(path, tmp_path / "out.csv")
    world.tag(write_lines(tmp_path / "again.jsonl", texts(30)), tmp_path / "again.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl", "out.jsonl.gz", "out.csv", "out.csv.gz"])
def test_tag_file_writes_every_format_alike(world: World, tmp_path: Path, name: str) -> None:
    source = write_lines(tmp_path / "in.jsonl", texts(20))
    done = world.tag(source, tmp_path / name, top=3)
    read: dict[str, Callable[..., pl.DataFrame]] = {
        "parquet": pl.read_parquet,
        "jsonl": lambda path: pl.read_ndjson(path, schema=TAG_SCHEMA),
        "csv": lambda path: pl.read_csv(path, schema=TAG_SCHEMA),
    }
    content = (tmp_path / name).read_bytes()
    (tmp_path / "plain").write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
    rows = read[name.split(".")[1]](tmp_path / "plain")
    world.tag(source, tmp_path / "again.parquet", top=3)
    assert rows.equals(pl.read_parquet(tmp_path / "again.parquet"))
    assert rows.shape == (60, 7)
    assert done["rows"] == "60"
    first = rows.filter(pl.col("rank") == 1)
    assert (first["label_uid"] == pl.Series([WORDS[i % len(WORDS)] for i in range(20)])).mean() > 0.8  # type: ignore[operator]
    assert leftovers(tmp_path) == []


def test_tag_file_leaves_out_labels_below_a_probability(world: World, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", texts(20))
    world.tag(source, tmp_path / "all.parquet", top=5)
    world.tag(source, tmp_path / "sure.parquet", top=5, min_probability=0.3)
    everything, sure = pl.read_parquet(tmp_path / "all.parquet"), pl.read_parquet(tmp_path / "sure.parquet")
    assert 0 < len(sure) < len(everything)
    assert sure.equals(everything.filter(pl.col("probability") >= 0.3))


def test_tag_file_skips_what_cannot_be_tagged_and_says_why(world: World, tmp_path: Path) -> None:
    hostile = [
        b"\xef\xbb\xbf" + json.dumps(texts(1)[0]).encode() + b"\r",  # a byte order mark, Windows' line end
        b"", b"   ",  # blank lines count, and are nothing
        b'{"document_id": "a", "text": ', b'["a", "b"]', b'{"document_id": "\xff\xfe", "text": "x"}',
        {"document_id": "b", "text": None}, {"document_id": "c", "text": "  "}, {"document_id": "d", "text": 5},
        {"document_id": "e"}, {"text": "vim"}, {"document_id": "new0", "text": "again"},
        b'{"document_id": "f", "text": "\\ud800 alone"}', b"[" * 100_000,
        {"document_id": "g", "text": "vim " * 250_000}, {"document_id": "ü/日本 🎉", "text": "vim\u0000 \u202e emacs 🎉\u2028"},
    ]  # fmt: skip
    done = world.tag(write_lines(tmp_path / "in.jsonl", hostile), tmp_path / "out.jsonl", max_reject_frac=0.9, top=1)
    tagged = [json.loads(line)["document_id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert tagged == ["new0", "g", "ü/日本 🎉"]
    assert [(row["line_number"], row["reject_reason"]) for row in skipped(tmp_path / "out.jsonl")] == [
        (4, "broken_line"), (5, "broken_line"), (6, "broken_line"), (7, "empty_text"), (8, "empty_text"), (9, "not_text"),
        (10, "missing_column"), (11, "missing_id"), (12, "duplicate_document"), (13, "broken_line"), (14, "broken_line"),
    ]  # fmt: skip
    assert done["skipped"].startswith("11 (broken_line 5, empty_text 2, ")


def test_tag_file_reads_quoted_csv_and_skips_broken_rows(world: World, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        b'\xef\xbb\xbfid,title,content\r\n1,vim,"two\r\nlines, a ""quote"""\r\n\r\n2,emacs\r\n3,gimp,\xff\r\n4,"gcc"x,y\r\n'
        + b"5,,\r\n6,python," + b"z" * 1_000_000 + b"\r\n"
    )  # fmt: skip
    world.tag(source, tmp_path / "out.csv", max_reject_frac=0.9, top=1)
    assert pl.read_csv(tmp_path / "out.csv")["document_id"].to_list() == [1, 6]
    assert [(row["line_number"], row["reject_reason"]) for row in skipped(tmp_path / "out.csv")] == [
        (5, "broken_line"), (6, "not_text"), (7, "broken_line"), (8, "empty_text"),
    ]  # fmt: skip


def test_tag_file_skips_nulls_and_other_types_of_parquet(world: World, tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([1, 2, None]), "text": pa.array(["vim", None, "gcc"], pa.large_string())})
    pq.write_table(table, tmp_path / "in.parquet")
    world.tag(tmp_path / "in.parquet", tmp_path / "out.parquet", max_reject_frac=0.9)
    assert [row["reject_reason"] for row in skipped(tmp_path / "out.parquet")] == ["empty_text", "missing_id"]
    pq.write_table(pa.table({"text": pa.array([[1], [2]])}), tmp_path / "numbers.parquet")
    with pytest.raises(InputFormatError, match=r"2 of 2 rows cannot be tagged \(not_text 2\).*line 1: expected text, got list"):
        world.tag(tmp_path / "numbers.parquet", tmp_path / "none.parquet")


def test_tag_file_stops_before_any_work_if_too_much_cannot_be_tagged(world: World, tmp_path: Path) -> None:
    rows = [*texts(9), b"broken"]
    source = write_lines(tmp_path / "in.jsonl", rows)
    with pytest.raises(InputFormatError, match=r"1 of 10 rows cannot be tagged .* allowed are 5%.*line 10: not JSON"):
        world.tag(source, tmp_path / "out" / "tags.csv")
    assert not (tmp_path / "out" / "tags.csv").exists()
    assert world.tag(source, tmp_path / "out" / "tags.csv", max_reject_frac=0.1)["documents"] == "9"


@pytest.mark.parametrize(
    ("name", "content", "options", "error", "message"),
    [
        ("in.txt", b"x", {}, ConfigError, "its name says no format"),
        ("in.jsonl", b'{"body": "x"}', {}, ConfigError, "no column of texts.*'body'; give --text-column"),
        ("in.jsonl", b'{"text": "x"}', {"text_column": "no"}, ConfigError, "--text-column 'no'"),
        ("in.jsonl", b'{"text": "x"}', {"source_format": "xml"}, ConfigError, "--format 'xml': allowed are"),
        ("in.jsonl", b'{"text": "x"}', {"top": 6}, ConfigError, "ranks 5 labels a document"),
        ("in.jsonl", b"", {}, ConfigError, "no column of texts.*no columns"),
        ("in.csv", b"id,text\n", {}, InputFormatError, "holds no row"),
        ("in.csv", b"id,text,text\n1,a,b\n", {}, InputFormatError, "names 'text' twice"),
        ("in.parquet", b"id,text\n1,a\n", {}, InputFormatError, "cannot be read to its end as parquet"),
        ("in.jsonl.gz", b"\x1f\x8b\x08broken", {}, InputFormatError, "cannot be read to its end as jsonl"),
    ],
)
def test_tag_file_refuses_what_it_cannot_read(
    world: World, tmp_path: Path, name: str, content: bytes, options: dict[str, Any], error: type[PipelineError], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        world.tag(tmp_path / name, tmp_path / "out.csv", **options)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_tag_file_takes_a_format_that_the_name_does_not_say(world: World, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.txt", texts(3))
    world.tag(source, tmp_path / "out.txt", source_format="jsonl", target_format="csv")
    assert (tmp_path / "out.txt").read_text().startswith("document_id,rank,label_id,")


def test_tag_file_does_nothing_again_and_replaces_nothing_unasked(world: World, tmp_path: Path) -> None:
    source, target = write_lines(tmp_path / "in.jsonl", texts(20)), tmp_path / "out.csv"
    world.tag(source, target)
    stamp = target.stat().st_mtime_ns
    assert world.tag(source, target)["speed"].startswith("none were tagged")
    assert target.stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="exists and was made from something else; name another file, or give --overwrite"):
        world.tag(source, target, top=2)
    target.write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not, or no longer, what `ctd tag` wrote"):
        world.tag(source, target)
    assert target.read_text() == "mine"
    world.tag(source, target, top=2, is_overwriting=True)
    assert len(pl.read_csv(target)) == 40
    with pytest.raises(ConfigError, match="input and output are the same file"):
        world.tag(source, source)


@pytest.mark.parametrize("change", ["student", "input", "top", "part_documents"])
def test_tag_file_takes_no_part_of_another_making(world: World, tmp_path: Path, change: str) -> None:
    source, target = write_lines(tmp_path / "in.jsonl", texts(40)), tmp_path / "out.csv"
    interrupted(world, source, target)
    others: dict[str, dict[str, Any]] = {
        "student": {"student": "answers-seed0"}, "input": {}, "top": {"top": 2}, "part_documents": {"part_documents": 17},
    }  # fmt: skip
    if change == "input":
        write_lines(source, texts(41))
    settings = {"part_documents": 16, **others[change]}
    world.tag(source, target, **settings)
    world.tag(source, tmp_path / "whole.csv", **settings)
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert leftovers(tmp_path) == []


def interrupted(world: World, source: Path, target: Path) -> None:
    """As a kill would leave it after the first part, which is marked to be known again."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("warehouse.tag_files.TagFiles.publish", stop)
        world.tag(source, target, part_documents=16)
    parts = sorted(target.parent.glob(f"{target.name}.parts-*/part-*.parquet"))
    assert len(parts) == 3
    marked = pl.read_parquet(parts[0]).with_columns(label_name=pl.lit("taken over"))
    marked.write_parquet(parts[0])
    parts[1].write_bytes(parts[1].read_bytes()[:100])  # cut off: made again
    parts[2].unlink()


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_tag_file_goes_on_with_whole_parts_of_the_same_making(world: World, tmp_path: Path) -> None:
    source, target = write_lines(tmp_path / "in.jsonl", texts(40)), tmp_path / "out.csv"
    interrupted(world, source, target)
    assert not target.exists()
    world.tag(source, target, part_documents=16)
    names = pl.read_csv(target)["label_name"].to_list()
    assert [name == "taken over" for name in names] == [True] * 80 + [False] * 120


KILLED = """
import sys
from pathlib import Path
from schemas.refs import RunRef
from tasks.students.tagging.task import ChosenStudent, TagOrder, tag_file
run = RunRef.model_validate_json(Path(sys.argv[1]).read_text())
student = ChosenStudent(folder=sys.argv[2], dataset="tiny", root=run.root)
tag_file.fn(run, student, TagOrder(source=sys.argv[3], target=sys.argv[4]))
"""


def start_tagging(world: World, folder: Path, target: Path, before: str = "") -> "subprocess.Popen[str]":
    config = world.run.config.model_copy(update={"tag": TagConfig(part_documents=16, top=5)})
    (folder / "run.json").write_text(world.run.model_copy(update={"config": config}).model_dump_json())
    arguments = [str(folder / "run.json"), str(world.students / "mechanistic-seed0"), str(folder / "in.jsonl"), str(target)]
    command = [sys.executable, "-c", before + KILLED, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_killed_tagging_goes_on_and_equals_an_unbroken_one(world: World, tmp_path: Path) -> None:
    source, target = write_lines(tmp_path / "in.jsonl", texts(800)), tmp_path / "out.jsonl"
    process = start_tagging(world, tmp_path, target)
    while len(list(tmp_path.glob("out.jsonl.parts-*/part-*.parquet"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("out.jsonl.parts-*/part-*.parquet")}
    assert 3 <= len(kept) < 50
    assert not target.exists()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("warehouse.tag_files.TagFiles.publish", stop)
        world.tag(source, target, part_documents=16)
    now = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("out.jsonl.parts-*/part-*.parquet")}
    assert len(now) == 50
    assert {name: now[name] for name in kept} == kept
    world.tag(source, target, part_documents=16)
    world.tag(source, tmp_path / "whole.jsonl", part_documents=16)
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_no_output_and_the_same_command_goes_on(world: World, tmp_path: Path) -> None:
    source, target = write_lines(tmp_path / "in.jsonl", texts(400)), tmp_path / "out.csv"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"  # a part is smaller, the whole not
    process = start_tagging(world, tmp_path, target, limit)
    _, errors = process.communicate()
    assert "StorageError" in errors
    assert "cannot write" in errors
    assert not target.exists()
    assert len(list(tmp_path.glob("out.csv.parts-*/part-*.parquet"))) == 25
    world.tag(source, target, part_documents=16)
    assert len(pl.read_csv(target)) == 2000


def test_tag_file_says_what_cannot_be_written(world: World, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", texts(3))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        world.tag(source, tmp_path / "file" / "out.csv")
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        world.tag(source, tmp_path, target_format="csv")


def test_two_processes_do_not_make_one_output(world: World, tmp_path: Path) -> None:
    import fcntl

    source = write_lines(tmp_path / "in.jsonl", texts(3))
    with (tmp_path / "out.csv.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process is making it"):
            world.tag(source, tmp_path / "out.csv")


def test_tag_file_notices_an_input_that_changes_meanwhile(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lines(tmp_path / "in.jsonl", texts(40))
    write_part = "warehouse.tag_files.TagFiles.write_part"
    monkeypatch.setattr(write_part, lambda *_: write_lines(source, texts(50)))
    with pytest.raises(InputFormatError, match="changed while it was tagged; run it again"):
        world.tag(source, tmp_path / "out.csv", part_documents=20)
    assert leftovers(tmp_path) in ([], ["out.csv.lock"])


def test_tag_file_finds_a_label_that_came_after_training(tmp_path: Path) -> None:
    world = make_world(tmp_path / "root", tmp_path / "model")
    labels = [
        {"label_id": i, "label_uid": w, "label_name": f"{w}: a tool", "description_text": ""}
        for i, w in enumerate(["blender", *reversed(WORDS)])  # numbers move, uids do not
    ]
    run = world.run.model_copy(update={"run_id": "r2"})
    tables = {**world.inputs.tables, "core_labels": put(run, "core_labels", list(labels))}
    publish(run, "ingest", StageResult(tables=tuple(tables[n] for n in ("core_documents", "core_labels", "core_relevance"))))
    publish(run, "index", index_labels.fn(run, StageInputs(tables=tables, artifacts={}), IndexConfig(), run.config.embed))
    rows = [{"id": "new", "text": "blender: a tool"}, *({"id": w, "text": f"all about {w}, and 3"} for w in WORDS)]
    World(run, world.inputs, world.students).tag(write_lines(tmp_path / "in.jsonl", rows), tmp_path / "out.csv", top=1)
    found = pl.read_csv(tmp_path / "out.csv")
    assert found.row(0, named=True)["label_uid"] == "blender"
    assert (found["document_id"] == found["label_uid"]).sum() > 7


def test_tag_file_refuses_other_embedders_and_older_students(tmp_path: Path) -> None:
    world = make_world(tmp_path / "root", tmp_path / "model")
    source = write_lines(tmp_path / "in.jsonl", texts(3))
    config = world.students / "mechanistic-seed0" / "config.json"
    whole = json.loads(config.read_text())

    def refused(error: type[PipelineError], message: str, **changes: Any) -> None:
        config.write_text(json.dumps(whole | changes))
        with pytest.raises(error, match=message):
            world.tag(source, tmp_path / "out.csv")

    refused(ConfigError, "of an older version, without probabilities; run `ctd distill` again", label_index=None)
    refused(ConfigError, "too few of its development documents", calibration=None)
    refused(
        ConfigError, "trained with the embedder other, here is", label_index=whole["label_index"] | {"document_embedder": "other"}
    )
    refused(IndexRefusedError, "embedded with other", label_index=whole["label_index"] | {"label_embedder": "other"})
    older = {name: value for name, value in whole.items() if name not in ("label_index", "calibration", "precision")}
    config.write_text(json.dumps(older))
    with pytest.raises(ConfigError, match="run `ctd distill` again"):
        world.tag(source, tmp_path / "out.csv")
    config.write_text(json.dumps(whole))
    (tmp_path / "root" / "published" / "tiny" / "index" / "latest.json").unlink()
    (tmp_path / "root" / "runs" / "r1" / "stages" / "index.json").unlink()
    with pytest.raises(MissingTableError, match="run `ctd index tiny` first"):
        world.tag(source, tmp_path / "out.csv")


def test_tag_file_names_the_data_root_that_the_student_stands_in(world: World, tmp_path: Path) -> None:
    elsewhere = World(world.run.model_copy(update={"root": str(tmp_path / "other")}), world.inputs, world.students)
    with pytest.raises(MissingTableError, match=f"did you mean --root {world.run.root}"):
        elsewhere.tag(write_lines(tmp_path / "in.jsonl", texts(3)), tmp_path / "out.csv")


def test_find_student_by_folder_and_by_name(world: World, tmp_path: Path) -> None:
    root = world.run.root
    folder = world.students / "mechanistic-seed0"
    assert find_student(str(folder), "nowhere") == ChosenStudent(folder=str(folder), dataset="tiny", root="nowhere")
    for name in ("tiny/mechanistic", "tiny/mechanistic-seed0"):
        assert find_student(name, root).folder == str(folder)
    with pytest.raises(ConfigError, match="tiny has no such student; there are tiny/answers-seed0, tiny/mechanistic-seed0"):
        find_student("tiny/supervised", root)
    with pytest.raises(ConfigError, match=r"neither a folder nor DATASET/SYSTEM of a dataset with students in .* \(tiny\)"):
        find_student("other/mechanistic", root)
    with pytest.raises(ConfigError, match="is no student's folder"):
        find_student(str(tmp_path), root)


def test_students_calibrate_on_development_documents_and_say_so(world: World) -> None:
    for student in list_students(world.students):
        found = load_description(student, StudentDescription).calibration
        assert found is not None
        assert found.fit_document_count >= 20 <= found.held_document_count
        assert "expected calibration error" in (student / "README.md").read_text().replace("\n", " ")


def test_tag_file_caches_no_vector_of_what_it_tags(world: World, tmp_path: Path) -> None:
    cache = Path(world.run.root) / "cache"
    before = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    world.tag(write_lines(tmp_path / "in.jsonl", texts(300)), tmp_path / "out.csv")
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == before
