from dataclasses import replace

import pytest

from schemas.checks import ReferenceRule, RowRule
from schemas.tables import CORE_LABELS, CORE_STEPS, CORE_TRACES, TABLES, Table
from tasks.checks.expectations import ColumnsRule, Expectation, KeyRule, TypeRule, expectations_of


def by_meaning(table: Table) -> dict[str, Expectation]:
    return {e.meaning: e for e in expectations_of(table)}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_expectations_of_names_each_expectation_once(table: Table) -> None:
    found = expectations_of(table)
    assert len({e.meaning for e in found}) == len(found)


def test_expectations_of_covers_structure_key_nulls_values_and_declared_rules() -> None:
    found = by_meaning(CORE_TRACES)
    rules = [e.rule for e in found.values()]
    assert ColumnsRule(CORE_TRACES.columns) in rules
    assert TypeRule("step_count", "Int32") in rules
    assert KeyRule(("trace_id",)) in rules
    assert set(CORE_TRACES.rules) <= set(rules)
    assert found["split is one of 'train', 'test'"].column == "split"
    assert "dataset is not null" in found
    assert "boundary_step is not null" not in found


def test_expectations_of_derives_a_share_range_that_is_not_declared() -> None:
    table = replace(CORE_TRACES, rules=())
    assert by_meaning(table)["out_of_catalogue_frac lies in 0..1"].severity == "error"


def test_expectations_of_keeps_severity_and_tolerance_of_a_rule() -> None:
    rule = RowRule("label_name", "label_name <> ''", "named", "warn", 0.2)
    found = by_meaning(replace(CORE_LABELS, rules=(rule,)))["named"]
    assert (found.severity, found.max_frac) == ("warn", 0.2)


def test_expectations_of_names_both_ends_of_a_reference() -> None:
    rule = ReferenceRule(("target_label_id",), "core_labels", ("label_id",))
    assert by_meaning(CORE_STEPS)["target_label_id occurs in core_labels as label_id"].rule == rule
