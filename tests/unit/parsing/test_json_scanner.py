import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.parsing.json_scanner import BrokenJsonError, Node, scan_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=4),
    max_leaves=12,
)


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(member) for key, member in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def folded(value: object) -> object:
    if isinstance(value, dict):
        first: dict[str, object] = {}
        for key, member in value.items():
            first.setdefault(key.strip().casefold(), folded(member))
        return first
    return [folded(item) for item in value] if isinstance(value, list) else value


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_scan_json_reads_what_json_reads(value: object, indent: int | None, ensure_ascii: bool) -> None:
    text = "noise " + json.dumps(value, indent=indent, ensure_ascii=ensure_ascii) + " noise"
    assert plain(scan_json(text, 6, len(text) - 6)) == folded(value)


@given(JSON, st.integers(0, 200))
def test_scan_json_of_a_cut_text_gives_members_of_the_whole(value: object, cut: int) -> None:
    text = json.dumps({"a": value, "b": [value, value]})[: max(cut, 1)]
    node = scan_json(text, 0, len(text))
    assert set(node.fields) <= {"a", "b"}
    assert node.end <= len(text)


def test_scan_json_spans_quote_the_raw_text() -> None:
    text = '{"label": "na\\"no \\u00e9", "n": 12, "list": ["x"]}'
    node = scan_json(text, 0, len(text))
    label = node.fields["label"]
    assert text[label.start : label.end] == 'na\\"no \\u00e9'
    assert label.text == 'na"no é'
    assert node.fields["n"].text == "12"
    assert text[node.fields["list"].start : node.fields["list"].end] == '["x"]'
    assert (node.start, node.end) == (0, len(text))


def test_scan_json_replaces_half_characters() -> None:
    assert scan_json('"\\ud800x"', 0, 9).text == "\ufffdx"


def test_scan_json_stops_at_a_fault_and_reads_nothing_after_it() -> None:
    text = '[{"a": 1 oops, "b": 2}, {"a": 3}]'
    assert plain(scan_json(text, 0, len(text))) == [{"a": 1.0}]


def test_scan_json_ends_a_span_at_the_fault() -> None:
    text = '{"a": [{"b": 1 oops, "c": 2}]} and {"d": 3}'
    node = scan_json(text, 0, len(text))
    inner = node.fields["a"].items[0]
    assert {text[one.start : one.end] for one in (node, inner)} == {'{"a": [{"b": 1', '{"b": 1'}


def test_scan_json_reads_what_is_too_deep_as_cut_off() -> None:
    text = '{"a": 1, "b": ' + "[" * 40 + "1" + "]" * 40 + ', "c": 2}'
    node = scan_json(text, 0, len(text))
    assert set(node.fields) == {"a", "b"}
    assert node.end < len(text) - 40


@pytest.mark.parametrize("text", ["", "  ", "}"])
def test_scan_json_refuses_what_is_no_value(text: str) -> None:
    with pytest.raises(BrokenJsonError):
        scan_json(text, 0, len(text))
