import subprocess
import sys
from pathlib import Path

ENDED = """
import os, signal, sys, typer
from flows.terminal import guarded, start
start(sys.argv[1])
try:
    guarded(lambda: os.kill(os.getpid(), signal.SIGTERM))
except typer.Exit as exc:
    print("unwound with", exc.exit_code)
"""


def test_sigterm_ends_a_command_as_ctrl_c_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDED, str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "unwound with 130"
    assert "the same command goes on from there" in done.stderr
