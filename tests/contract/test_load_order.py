import subprocess
import sys

import pytest

LOADED = "import sys; import {module}; loaded = list(sys.modules); print(loaded.index('pyarrow') < loaded.index('usearch'))"


@pytest.mark.parametrize("module", ["tasks.labels.graph", "warehouse.index_store"])
def test_arrow_is_loaded_before_usearch(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
