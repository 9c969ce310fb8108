"""The allowed arrows of CONVENTIONS.md, section 2, enforced on every module's imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUND_ROOMS = {"labels", "sequences", "open_models", "intervals", "trials"}
HTTP = {"openai", "aiohttp", "httpx", "httpx2", "starlette", "uvicorn", "requests", "urllib"}
JUDGE = {"great_expectations", "pandas"}
NEVER = {
    "schemas": {"flows", "tasks", "warehouse", "samples", "prefect", "torch"},
    "warehouse": {"flows", "tasks", "prefect"},
    "samples": {"flows", "tasks", "warehouse", "schemas"},
    "flows": {"polars", "torch", "warehouse"},
    "tasks": {"flows"},
}


def modules() -> list[Path]:
    return sorted(p for part in ("flows", "tasks", "schemas", "warehouse", "samples") for p in (ROOT / part).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def forbidden(path: Path, name: str) -> str | None:
    """Why this import breaks an arrow, or None."""
    parts = path.relative_to(ROOT).parts
    top = name.split(".")[0]
    if top in HTTP and parts[:2] != ("tasks", "traces"):
        return "only tasks/traces speaks HTTP"
    if top in JUDGE and parts != ("tasks", "checks", "gate.py"):
        return "only tasks/checks/gate.py knows Great Expectations and pandas"
    if top in NEVER[parts[0]]:
        return f"{parts[0]} never imports {top}"
    if parts[0] == "flows":
        return flow_fault(name)
    return room_fault(parts, name) if len(parts) > 2 and parts[0] == "tasks" else None


def flow_fault(name: str) -> str | None:
    is_fine = not name.startswith("tasks.") or name.endswith(".task") or name == "tasks.runs.settings"
    return None if is_fine else "flows call tasks"


def room_fault(parts: tuple[str, ...], name: str) -> str | None:
    is_task = parts[-1] == "task.py"
    room = name.split(".")[1] if name.startswith("tasks.") else parts[1]
    if room not in {parts[1], *GROUND_ROOMS}:
        return "rooms do not know each other"
    if not is_task and name.split(".")[0] in {"prefect", "warehouse"}:
        return "pure modules know neither Prefect nor the disk"
    if not is_task and room != parts[1] and name.endswith(".task"):
        return "pure modules call pure modules"
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_allowed_arrows(path: Path) -> None:
    broken = [f"{name}: {why}" for name in imported(path) if (why := forbidden(path, name))]
    assert not broken


def test_forbidden_sees_what_it_must() -> None:
    assert forbidden(ROOT / "tasks/parsing/names.py", "warehouse.parquet")
    assert forbidden(ROOT / "tasks/parsing/task.py", "tasks.traces.client")
    assert forbidden(ROOT / "flows/run.py", "polars")
    assert forbidden(ROOT / "schemas/fields.py", "warehouse.layout")
    assert forbidden(ROOT / "tasks/labels/task.py", "openai")
    assert forbidden(ROOT / "tasks/parsing/task.py", "tasks.labels.task") is None


@pytest.mark.parametrize("path", [p for p in modules() if p.name == "__init__.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_package_init_holds_one_docstring_and_nothing_else(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_modules_read_no_environment(path: Path) -> None:
    is_pure = path.is_relative_to(ROOT / "tasks") and path.name != "task.py"
    assert not (is_pure and "os.environ" in path.read_text())
