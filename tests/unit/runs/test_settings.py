import pytest

from schemas.config import PipelineConfig
from schemas.errors import ConfigError
from tasks.runs.settings import list_settings, merge_values, parse_override, resolve_config, seeds_of


def test_parse_override_reads_json_and_falls_back_to_text() -> None:
    assert parse_override("distill.seeds=[0,1]") == {"distill": {"seeds": [0, 1]}}
    assert parse_override("teacher.base_url=http://127.0.0.1:1/v1") == {"teacher": {"base_url": "http://127.0.0.1:1/v1"}}


@pytest.mark.parametrize("text", ["distill", "seeds=1", ".seeds=1", "distill.seeds"])
def test_parse_override_refuses_what_is_no_setting(text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_override(text)


def test_merge_values_keeps_what_the_upper_layer_does_not_name() -> None:
    assert merge_values({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}


def test_resolve_config_lets_overrides_win() -> None:
    found = resolve_config([{"teacher": {"concurrency": 4}}, {"teacher": {"concurrency": 8}}], ["teacher.concurrency=16"])
    assert found.teacher.concurrency == 16


def test_resolve_config_names_every_fault() -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_config([{"teacher": {"concurrency": 0, "speed": 1}, "parse": {"fuzzy_threshold": "much"}}], [])
    text = str(raised.value)
    assert "teacher.concurrency: got 0" in text
    assert "teacher.speed: there is no such setting" in text
    assert "parse.fuzzy_threshold: got 'much'" in text


def test_list_settings_describes_every_setting() -> None:
    rows = list_settings()
    assert {"teacher.concurrency", "teacher.stand_in.faults.refusal", "distill.seeds"} <= {row[0] for row in rows}
    assert all(meaning for *_, meaning in rows)


def test_seeds_of_names_every_section_that_draws() -> None:
    assert seeds_of(PipelineConfig())["distill"] == (0, 1, 2)


def test_resolve_config_refuses_a_password_in_the_base_url_and_does_not_repeat_it() -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_config([], ["teacher.base_url=https://me:hunter2@api.example.com/v1"])
    assert "holds no user or password" in str(raised.value)
    assert "hunter2" not in str(raised.value)
