"""A key is planted, and the teacher says it wherever it can; then everything that was written is searched for it."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tests.e2e.test_pipeline import write_settings
from tests.support.puppet import answer, puppet
from tests.support.runs import tiny_lf

KEY = "sk-planted-3f9c1e77aa5b4d20"
FORMS = (KEY, KEY[3:], base64.b64encode(KEY.encode()).decode(), KEY.encode("utf-16-le").decode("latin-1"))


class Gossip:
    """Says the key it was sent: in answers, in reasoning, in errors of every status, in headers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def decide(self, _: dict[str, Any], headers: dict[str, str]) -> Response:
        key = headers["authorization"].removeprefix("Bearer ")
        self.heard.append(key)
        number = len(self.heard)
        if number == 1:
            return answer(f"Possible labels: editor, {key}.\neditor fits. Keep.\n\nAnswer:\neditor", f"I was called with {key}")
        status = (500, 400, 429, 422)[number % 4]
        error = {"error": {"message": f"key {key} is over its limit", "code": key, "type": key, "param": key}}
        return JSONResponse(error, status, headers={"x-key": key, "retry-after-ms": "1"})


def ctd(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [str(Path(sys.executable).with_name("ctd")), *arguments, "--root", str(root)]
    return subprocess.run(
        command,
        env=env | {"MY_KEY": KEY, "PREFECT_LOGGING_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data root after a run that half worked and one that failed at once, and all they printed."""
    folder = tmp_path_factory.mktemp("secret")
    settings, root = str(write_settings(folder / "settings.yaml")), folder / "root"
    said = []
    for stage in (("ingest", "tiny", str(tiny_lf(folder / "lf"))), ("index", "tiny")):
        found = ctd(root, *stage, "--config", settings)
        assert found.returncode == 0, found.stderr[-2000:]
    gossip = Gossip()
    with puppet(gossip.decide) as url:
        teacher = [
            f"teacher.base_url={url}", "teacher.api_key_env=MY_KEY", "teacher.answer_form=free", "teacher.max_attempts=2",
            "teacher.retry_pause_s=0.01", "teacher.concurrency=1",
        ]  # fmt: skip
        for more in ("teacher.max_error_frac=1", "teacher.max_error_frac=0"):
            options = [word for setting in (*teacher, more) for word in ("--set", setting)]
            found = ctd(root, "trace", "tiny", "--config", settings, *options)
            said.append(found.stdout + found.stderr)
        assert found.returncode == 1, "\n".join(said)[-3000:]
    assert gossip.heard, "\n".join(said)[-3000:]
    assert set(gossip.heard) == {KEY}
    shutil.rmtree(folder / "lf")
    yield root, "\n".join(said)


def test_the_key_is_in_nothing_that_was_printed(told: tuple[Path, str]) -> None:
    assert "key *** is over its limit" in told[1]
    assert [form for form in FORMS if form in told[1]] == []


def test_the_key_is_in_no_file_that_was_written(told: tuple[Path, str]) -> None:
    files = [path for path in told[0].rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"tiny.jsonl", "raw_traces.parquet", "run.json", "warehouse.duckdb"} <= names
    assert any("prefect" in str(path) and path.suffix == ".db" for path in files)
    needles = [form.encode("latin-1") for form in FORMS]
    assert [path for path in files if any(needle in path.read_bytes() for needle in needles)] == []


def test_the_answer_that_held_the_key_is_kept_without_it(told: tuple[Path, str]) -> None:
    journal = (told[0] / "journal" / "tiny.jsonl").read_text()
    assert "I was called with ***" in journal
    assert "key *** is over its limit" in journal
