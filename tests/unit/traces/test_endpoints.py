import pytest

from schemas.config import FaultRates, StandInConfig, TeacherConfig
from schemas.errors import ConfigError
from tasks.traces.endpoints import asked_endpoint, check_settings, public_url

REMOTE = {"base_url": "https://api.example/v1", "model": "big", "prompt_kind": "open"}


def _settings(**values: object) -> TeacherConfig:
    return TeacherConfig.model_validate(values)


def test_public_url_drops_credentials_query_and_closing_slash() -> None:
    assert public_url("https://me:secret@host:8000/v1/?key=secret#x") == "https://host:8000/v1"


@pytest.mark.parametrize(
    ("values", "has_key", "message"),
    [
        ({"model": "big"}, True, "teacher.prompt_kind is not set"),
        (REMOTE | {"model": None}, True, "teacher.model is not set"),
        (REMOTE, False, "environment variable OPENAI_API_KEY is not set"),
        (REMOTE | {"base_url": "api.example/v1"}, True, "expected `stand-in` or http"),
        (REMOTE | {"base_url": "ftp://host/v1"}, True, "'ftp://host/v1'"),
    ],
)
def test_check_settings_refuses_what_cannot_work(values: dict[str, object], has_key: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(_settings(**values), has_key)


def test_check_settings_refuses_faults_beyond_certainty() -> None:
    faults = FaultRates(server_error=0.6, refusal=0.5)
    with pytest.raises(ConfigError, match=r"add up to 1\.1"):
        check_settings(TeacherConfig(prompt_kind="open", stand_in=StandInConfig(faults=faults)), has_key=False)


@pytest.mark.parametrize(
    ("values", "has_key"),
    [
        ({"prompt_kind": "open"}, False),
        (REMOTE, True),
        (REMOTE | {"base_url": "http://127.0.0.1:8000/v1"}, False),
        (REMOTE | {"base_url": "http://localhost:8000/v1"}, False),
    ],
)
def test_check_settings_lets_usable_ones_pass(values: dict[str, object], has_key: bool) -> None:
    check_settings(_settings(**values), has_key)


def test_asked_endpoint_names_the_stand_in_whatever_its_port() -> None:
    teacher = TeacherConfig(prompt_kind="open", model="ignored")
    assert (asked_endpoint(teacher, "stand-in-abc").name, asked_endpoint(teacher, "stand-in-abc").model) == (
        "stand-in",
        "stand-in-abc",
    )


def test_asked_endpoint_shows_no_credentials() -> None:
    teacher = _settings(**(REMOTE | {"base_url": "https://api.example/v1/?key=secret"}))
    assert asked_endpoint(teacher, None).name == "https://api.example/v1"
