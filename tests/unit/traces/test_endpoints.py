import pytest

from schemas.config import FaultRates, StandInConfig, TeacherConfig
from schemas.errors import ConfigError
from tasks.traces.endpoints import Endpoint, asked_endpoint, canonical_hash, check_settings, public_url

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
        (REMOTE | {"base_url": "http://"}, True, "expected `stand-in` or http"),
        (REMOTE | {"max_usd": 2.5}, True, r"max_usd = 2\.5 cannot be kept without prices"),
        (REMOTE | {"max_usd": 2.5, "prompt_usd_per_million": 1.0}, True, "set teacher.prompt_usd_per_million"),
        ({"prompt_kind": "open", "max_usd": 1.0, "completion_usd_per_million": 1.0}, False, "or leave the cap out"),
        (REMOTE | {"api_key_env": "MY_KEY"}, False, "environment variable MY_KEY is not set"),
    ],
)
def test_check_settings_refuses_what_cannot_work(values: dict[str, object], has_key: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(_settings(**values), has_key)


def test_check_settings_shows_no_secret_of_the_address() -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(_settings(**(REMOTE | {"base_url": "https://host/v1?key=secret", "model": None})), has_key=True)
    assert "secret" not in str(caught.value)
    assert "https://host/v1" in str(caught.value)


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
        (REMOTE | {"base_url": "http://[::1]:8000/v1"}, False),
        (REMOTE | {"max_usd": 1.0, "prompt_usd_per_million": 0.0, "completion_usd_per_million": 0.0}, True),
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


def test_asked_endpoint_carries_what_shapes_an_answer() -> None:
    sampling = {"temperature": 0.7, "max_completion_tokens": 77, "top_p": 0.5, "seed": 3}
    endpoint = asked_endpoint(_settings(**(REMOTE | sampling)), None)
    assert endpoint == Endpoint("https://api.example/v1", "big", "open", 0.7, 77, 0.5, 3)


def test_canonical_hash_overlooks_the_order_of_keys_only() -> None:
    assert canonical_hash({"a": 1, "b": [1, 2]}) == canonical_hash({"b": [1, 2], "a": 1})
    assert canonical_hash({"a": 1, "b": [1, 2]}) != canonical_hash({"a": 1, "b": [2, 1]})
    assert canonical_hash("\ud83d") != canonical_hash("?")
