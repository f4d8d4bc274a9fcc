"""Which server, as whom: flags, then the environment, then the file, then what is left by a login or a local stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.cli.configuration import Configuration, Flags, OutputFormat, configure
from app.cli.errors import UsageProblem
from app.cli.kept_logins import Account, Session
from app.cli.server_url import checked_url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "hotswap").mkdir(parents=True)
    return tmp_path


def configured(home: Path, flags: Flags | None = None, more: Mapping[str, str] | None = None) -> Configuration:
    given = {"HOME": str(home), "HOTSWAP_DATA_DIR": str(home / "stack"), **(more or {})}
    return configure(flags or Flags(), given)


def file(home: Path, text: str) -> None:
    (home / ".config" / "hotswap" / "config.toml").write_text(text)


def stack(home: Path, url: str) -> Path:
    (home / "stack" / "run").mkdir(parents=True)
    (home / "stack" / "run" / "stack.json").write_text(json.dumps({"pid": 1, "urls": {"api": url}}))
    (home / "stack" / "keys").mkdir()
    key = home / "stack" / "keys" / "development.key"
    key.write_text("a key")
    return key


def test_url_is_taken_from_flag_then_environment_then_file_then_login_then_stack_then_default(home: Path) -> None:
    assert configured(home).url == "http://127.0.0.1:8000"
    stack(home, "http://127.0.0.1:4711")
    assert configured(home).url == "http://127.0.0.1:4711"
    configured(home).sessions.put(Account("https://login.example"), Session("anna", "t"))
    assert configured(home).url == "https://login.example"
    file(home, 'url = "https://file.example"\n')
    assert configured(home).url == "https://file.example"
    environment = {"HOTSWAP_URL": "https://environment.example/"}
    assert configured(home, more=environment).url == "https://environment.example"
    assert configured(home, Flags(url="https://flag.example"), environment).url == "https://flag.example"


def test_output_is_taken_from_flag_then_environment_then_file(home: Path) -> None:
    assert configured(home).output is OutputFormat.TEXT
    file(home, 'output = "json"\n')
    assert configured(home).output is OutputFormat.JSON
    assert configured(home, more={"HOTSWAP_OUTPUT": "TEXT"}).output is OutputFormat.TEXT
    assert configured(home, Flags(output=OutputFormat.JSON), {"HOTSWAP_OUTPUT": "text"}).output is OutputFormat.JSON


def test_an_empty_variable_is_none(home: Path) -> None:
    empty = {"HOTSWAP_URL": "", "HOTSWAP_TOKEN": "", "HOTSWAP_USERNAME": "", "HOTSWAP_SIGNING_KEY": ""}
    configuration = configured(home, more=empty)
    assert configuration.url == "http://127.0.0.1:8000"
    assert configuration.token is None
    assert configuration.signing_key is None


def test_the_file_may_be_elsewhere(home: Path, tmp_path: Path) -> None:
    (tmp_path / "xdg" / "hotswap").mkdir(parents=True)
    (tmp_path / "xdg" / "hotswap" / "config.toml").write_text('url = "https://xdg.example"')
    (tmp_path / "own.toml").write_text('url = "https://own.example"')
    xdg = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert configured(home, more=xdg).url == "https://xdg.example"
    assert configured(home, more={**xdg, "HOTSWAP_CONFIG": str(tmp_path / "own.toml")}).url == "https://own.example"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url = https://x", "is not TOML"),
        ("url = 5", "url must be a text"),
        ('ulr = "https://x"', "does not exist: ulr"),
        ('output = "yaml"', "choose text or json"),
        ("\udce9", "is not TOML"),
    ],
)
def test_a_bad_file_is_one_line(home: Path, text: str, said: str) -> None:
    (home / ".config" / "hotswap" / "config.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageProblem, match=said):
        configured(home)


@pytest.mark.parametrize("url", ["", "here", "ftp://x", "http://", "http://x:port", "http://x:0", "http://[::1", "http://x?y=1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageProblem):
        checked_url(url)


def test_urls_are_told_apart_by_nothing_at_their_end() -> None:
    assert checked_url(" https://x.example/hotswap/ ") == "https://x.example/hotswap"
    assert checked_url("https://x.example/api/v1") == "https://x.example"


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageProblem) as refused:
        checked_url("https://anna:secret@x.example")
    assert "secret" not in str(refused.value)


def test_the_development_key_signs_for_its_own_stack_only(home: Path) -> None:
    key = stack(home, "http://127.0.0.1:4711")
    assert configured(home).signing_key == key
    assert configured(home, Flags(url="http://127.0.0.1:9999")).signing_key is None
    assert configured(home, Flags(url="https://production.example")).signing_key is None
    file(home, 'signing_key = "/keys/team.key"\n')
    assert configured(home).signing_key == Path("/keys/team.key")
    assert configured(home, more={"HOTSWAP_SIGNING_KEY": "/keys/ci.key"}).signing_key == Path("/keys/ci.key")


@pytest.mark.parametrize("left", ["", "{", "[]", '{"urls": 5}', '{"urls": {"api": 5}}'])
def test_what_a_killed_stack_left_behind_is_no_error(home: Path, left: str) -> None:
    (home / "stack" / "run").mkdir(parents=True)
    (home / "stack" / "run" / "stack.json").write_text(left)
    assert configured(home).url == "http://127.0.0.1:8000"


def test_secrets_are_in_no_repr(home: Path) -> None:
    secrets = {"HOTSWAP_TOKEN": "s3cret-token", "HOTSWAP_USERNAME": "a", "HOTSWAP_PASSWORD": "s3cret-password"}
    assert "s3cret" not in repr(configured(home, more=secrets))
    assert "s3cret" not in repr(Session("anna", "s3cret", "s3cret"))
