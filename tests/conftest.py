"""Settings of every test: no telemetry, no hub, Prefect's files in a temporary home."""

import os
import tempfile

from flows.environment import DEFAULTS, end_quietly

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
end_quietly()
