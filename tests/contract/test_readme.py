"""README, Makefile, commands and tree say the same."""

import re

import pytest

from flows.cli import app
from schemas.stages import STAGES
from tests.contract.test_imports import ROOT

README = (ROOT / "README.md").read_text()


def commands() -> set[str]:
    return {str(command.name) for command in app.registered_commands}


def test_readme_lists_every_command_and_no_other() -> None:
    listed = set(re.findall(r"^\| `ctd ([a-z-]+)", README, flags=re.MULTILINE))
    assert listed == commands()


def test_every_stage_has_a_command_and_a_flow() -> None:
    assert set(STAGES) <= commands()
    assert all((ROOT / "flows" / f"{stage.replace('-', '_')}.py").exists() for stage in STAGES)


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "benchmark"])
def test_makefile_has_the_targets(target: str) -> None:
    assert re.search(rf"^{target}: install$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_readme_names_files_that_exist() -> None:
    paths = set(re.findall(r"`((?:tasks|flows|samples|schemas|warehouse)/[a-z_/.A-Z]+\.(?:py|md))`", README))
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_ci_runs_the_checks_and_the_readme_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make check" in script
    assert "make test" in script
