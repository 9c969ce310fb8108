"""Every table has a producer, a description, a key, a check; every column stands in the dictionary once."""

import pytest
import yaml

from schemas.fields import FIELDS
from schemas.stages import STAGES
from schemas.tables import TABLES, Table
from tests.contract.test_imports import ROOT

WRITTEN_BY_RUNS = {"out_costs", "out_checks", "out_runs"}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_table_is_described_and_keyed(table: Table) -> None:
    assert table.layer in {"raw", "core", "out"}
    assert table.row
    assert set(table.key) <= set(table.columns)
    assert not set(table.key) & table.nullable
    assert len(set(table.columns)) == len(table.columns)
    assert all(FIELDS[column].description for column in table.columns)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_table_has_its_declared_producers(table: Table) -> None:
    writers = {stage.name for stage in STAGES.values() if table.name in stage.writes}
    assert writers == set(table.producers) - {"run"}
    assert bool(writers) != (table.name in WRITTEN_BY_RUNS)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_rules_name_columns_and_tables_that_exist(table: Table) -> None:
    for rule in table.rules:
        column = getattr(rule, "column", None)
        assert column is None or column in table.columns
        target = getattr(rule, "table", None)
        assert target is None or set(rule.target_columns) <= set(TABLES[target].columns)  # type: ignore[union-attr]


def test_every_stage_reads_what_an_earlier_one_writes() -> None:
    seen: set[str] = set()
    for stage in STAGES.values():
        assert set(stage.reads) | set(stage.needs) <= seen, stage.name
        seen |= set(stage.writes) | set(stage.makes)


def test_columns_carry_their_units() -> None:
    for name, field in FIELDS.items():
        if str(field.dtype) == "Boolean":
            assert name.startswith(("is_", "has_")), name
        assert not name.endswith(("_pct", "_percent", "_seconds", "_secs")), name


def test_prefect_yaml_deploys_every_flow_with_the_flows_own_parameters() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {d["name"] for d in deployments} == {*STAGES, "report", "pipeline"}
    for deployment in deployments:
        path, flow = deployment["entrypoint"].split(":")
        source = (ROOT / path).read_text()
        assert f"def {flow}(" in source
        assert all(f"    {parameter}: " in source for parameter in deployment["parameters"])


def test_nightly_schedule_is_paused_by_default() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    schedules = [s for d in deployments for s in d.get("schedules", [])]
    assert [(s["slug"], s["active"]) for s in schedules] == [("nightly", False)]
