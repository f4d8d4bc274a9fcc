"""Settings come from the environment, and what is wrong with them is one line."""

from pathlib import Path
from typing import get_args

import pytest

from app.infrastructure.sandbox.spec import Claim
from config.settings import SandboxClaim, Settings, SettingsError, load

SECRET = "0123456789abcdef0123456789abcdef"
GOOD = {
    "HOTSWAP_DATABASE_URL": "postgresql://hotswap:pw@127.0.0.1:5432/hotswap",
    "HOTSWAP_BROKER_URL": "redis://:pw@127.0.0.1:6379/0",
    "HOTSWAP_JWT_SECRET": SECRET,
    "HOTSWAP_TLS_CA": "/tls/ca.pem",
    "HOTSWAP_TLS_CERTIFICATE": "/tls/orchestrator.pem",
    "HOTSWAP_TLS_KEY": "/tls/orchestrator.key",
    "HOTSWAP_ARTIFACTS_DIR": "/artifacts",
}


def refusal(**changes: str | None) -> str:
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(SettingsError) as caught:
        load(environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_least_that_is_needed() -> None:
    settings = load(GOOD)
    assert settings.sqlalchemy_url == "postgresql+psycopg://hotswap:pw@127.0.0.1:5432/hotswap"
    assert settings.redis_url == settings.result_url == settings.broker_url
    assert settings.task_secret.get_secret_value() == SECRET
    assert settings.port == 8000


def test_everything_that_is_missing_is_named_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load({})
    assert str(caught.value).split("; ") == [f"{name} is not set" for name in GOOD]


@pytest.mark.parametrize("secret", ["", "changeme", "a" * 64, "ab" * 32])
def test_a_weak_secret_is_refused(secret: str) -> None:
    said = refusal(HOTSWAP_JWT_SECRET=secret)
    assert said.startswith("HOTSWAP_JWT_SECRET is") and said.count("SECRET") == 1
    assert secret == "" or secret not in said


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://host", "not a url", "postgresql://h:port/db", "postgresql://[::1/db"])
def test_a_wrong_database_url_is_refused(url: str) -> None:
    assert refusal(HOTSWAP_DATABASE_URL=url).startswith("HOTSWAP_DATABASE_URL ")


@pytest.mark.parametrize("url", ["http://x", "redis://", "redis://h:x/0"])
def test_a_wrong_broker_url_is_named_once(url: str) -> None:
    said = refusal(HOTSWAP_BROKER_URL=url)
    assert said.startswith("HOTSWAP_BROKER_URL ") and "HOTSWAP_RESULT_URL" not in said


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwt"
    file.write_text(SECRET + "\n")
    environment = {**GOOD, "HOTSWAP_JWT_SECRET_FILE": str(file)}
    del environment["HOTSWAP_JWT_SECRET"]
    assert load(environment).jwt_secret.get_secret_value() == SECRET
    assert "both set" in refusal(HOTSWAP_JWT_SECRET_FILE=str(file))
    assert "cannot read" in refusal(HOTSWAP_JWT_SECRET=None, HOTSWAP_JWT_SECRET_FILE=str(tmp_path / "none"))


def test_where_traces_go_and_are_looked_at() -> None:
    assert load(GOOD).otlp_endpoint is None
    standard = {**GOOD, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318"}
    assert load(standard).otlp_endpoint == "http://standard:4318"
    assert load({**standard, "HOTSWAP_OTLP_ENDPOINT": "http://ours:4318"}).otlp_endpoint == "http://ours:4318"
    assert "HOTSWAP_OTLP_ENDPOINT must look like http://" in refusal(HOTSWAP_OTLP_ENDPOINT="ours:4318")
    assert "HOTSWAP_TRACE_URL must have {trace_id} in it" in refusal(HOTSWAP_TRACE_URL="http://traces/")


def test_what_sandboxes_must_hold_is_relaxed_only_by_name() -> None:
    assert load(GOOD).sandbox_require == ("files", "processes", "ending")
    assert load({**GOOD, "HOTSWAP_SANDBOX_REQUIRE": ""}).sandbox_require == ("files", "processes", "ending")
    assert load({**GOOD, "HOTSWAP_SANDBOX_REQUIRE": "none"}).sandbox_require == ()
    assert load({**GOOD, "HOTSWAP_SANDBOX_REQUIRE": "Files, signals"}).sandbox_require == ("files", "signals")
    for wrong in ("everything", "files,none", "files;ending"):
        assert "HOTSWAP_SANDBOX_REQUIRE" in refusal(HOTSWAP_SANDBOX_REQUIRE=wrong)
    assert {name.upper() for name in get_args(SandboxClaim)} == set(Claim.__members__) - {"NETWORK"}


def test_settings_that_contradict_each_other() -> None:
    assert "must differ" in refusal(HOTSWAP_AGENT_PORT="8000")
    assert "HOTSWAP_LEASE must" in refusal(HOTSWAP_LEASE="1")
    assert refusal(HOTSWAP_PORT="99999").startswith("HOTSWAP_PORT ")


def test_no_secret_is_shown() -> None:
    shown = repr(load(GOOD))
    assert SECRET not in shown and "pw@" not in shown


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operating-the-local-stack.md").read_text()
    assert [name for name in Settings.model_fields if f"`HOTSWAP_{name.upper()}`" not in page] == []
