import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="the system has no limit of open files")

CODE = """
import resource
from tasks.traces.process import allow_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))
allow_connections(180)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
allow_connections(1000)
"""


def test_allow_connections_raises_the_limit_as_far_as_the_system_lets_it_and_says_where_it_ends() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "244"
    assert "teacher.concurrency = 1000 needs 1064 open files, and the system allows 256" in found.stderr
    assert "lower it to 192" in found.stderr
