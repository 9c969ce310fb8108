"""Settings from a file and from `section.key=value`, checked as a whole, with every fault named at once."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from schemas.config import PipelineConfig
from schemas.errors import ConfigError

Values = dict[str, Any]
"""Section -> setting -> value; any JSON type, checked by `PipelineConfig`."""


def merge_values(low: Mapping[str, Any], high: Mapping[str, Any]) -> Values:
    """Nested values of `low`, with those of `high` in their place where both have one."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_values(below, value)
        else:
            merged[key] = value
    return merged


def parse_override(text: str) -> Values:
    """`section.key=value` as nested values; the value is JSON, or else a plain string.

    Raises:
        ConfigError: there is no `=` or no dot before it.
    """
    path, equals, raw = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set {text!r}: expected section.key=value, such as --set distill.seeds=[0,1]")
    try:
        value: Any = json.loads(raw)  # any JSON type
    except json.JSONDecodeError:
        value = raw
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def resolve_config(layers: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> PipelineConfig:
    """Settings from layers (later ones win) and overrides (last).

    Raises:
        ConfigError: names every unknown setting and every value out of bounds.
    """
    values: Values = {}
    for layer in (*layers, *map(parse_override, overrides)):
        values = merge_values(values, layer)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as exc:
        raise ConfigError(describe_faults(exc)) from exc


def describe_faults(error: ValidationError) -> str:
    """One line a fault: which setting, what was seen, what is allowed."""
    lines = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"setting {name}: there is no such setting; `ctd config` lists them")
        else:
            seen = "a value with @" if "@" in str(fault["input"]) else repr(fault["input"])  # it may hold a password
            lines.append(f"setting {name}: got {seen}; {fault['msg'].lower()}")
    return "\n".join(lines)


def seeds_of(config: PipelineConfig) -> dict[str, Any]:
    """Section -> its seed or seeds, for those that draw."""
    found: dict[str, Any] = {}
    for name, section in config:
        values = section.model_dump()
        seeds = [values[key] for key in ("seed", "seeds") if key in values]
        if seeds:
            found[name] = seeds[0]
    found["teacher.stand_in"] = config.teacher.stand_in.seed
    return found


def list_settings(model: type[Any] = PipelineConfig, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Every setting as (name, type and bounds, default, meaning), in order."""
    rows = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            rows += list_settings(field.annotation, f"{prefix}{name}.")
            continue
        kind = (
            str(field.annotation).replace("typing.", "") if not isinstance(field.annotation, type) else field.annotation.__name__
        )
        bounds = " ".join(_bound(item) for item in field.metadata if _bound(item))
        rows.append((prefix + name, f"{kind} {bounds}".strip(), json.dumps(field.default), field.description or ""))
    return rows


def _bound(item: object) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >="}
    return " ".join(f"{sign} {getattr(item, name)}" for name, sign in signs.items() if getattr(item, name, None) is not None)
