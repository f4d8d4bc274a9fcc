"""`hotswap user` and `hotswap token`: what is sent, what is printed, and where passwords come from."""

from __future__ import annotations

import getpass
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import Api, answer, hotswap, problem

ID = "0192f0c1-2222-7000-8000-000000000001"
ANNA = {
    "id": ID,
    "username": "anna",
    "email": "anna@x.example",
    "fullName": "Anna \u001b[31mRed",
    "roles": ["Deployer"],
    "disabled": False,
    "createdAt": "2026-11-24T05:31:00.000Z",
    "version": 1,
}
TEXT = "hs_" + "A" * 43
CI = {
    "id": ID,
    "name": "ci",
    "prefix": TEXT[:11],
    "user": "anna",
    "roles": ["Deployer"],
    "createdAt": "2026-11-24T05:31:00.000Z",
    "expiresAt": None,
    "lastUsedAt": None,
    "expired": False,
}
TOKENS = "/authentication/tokens"
OLD, NEW = "the-old-passphrase", "a-new-passphrase"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.on("GET", "/users", answer([ANNA]))
    api.on("GET", f"/users/{ID}", answer(ANNA))
    api.on("PATCH", f"/users/{ID}", answer({**ANNA, "disabled": True}))
    api.on("POST", "/users", answer(ANNA, 201))
    api.on("GET", TOKENS, answer([CI]))
    api.on("POST", TOKENS, answer({**CI, "token": TEXT}, 201))
    return api


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What somebody types unseen, in this order."""
    typed: list[str] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr(getpass, "getpass", lambda _question: typed.pop(0))
    yield typed
    assert typed == [], "everything was asked for"


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_users_are_listed_and_shown(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("user", "list", home=tmp_path, api=api) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["USER", "NAME", "ROLES", "STATE", "SINCE"]
    assert "\x1b" not in row and "enabled" in row and "2026-11-24 05:31:00Z" in row
    for given in ("Anna", ID):
        assert hotswap("user", "show", given, home=tmp_path, api=api) == 0
        assert "anna@x.example" in capsys.readouterr().out
    assert api.requests[1].url.params["username"] == "anna"
    assert hotswap("user", "list", "-o", "json", home=tmp_path, api=api) == 0
    assert json.loads(capsys.readouterr().out) == [ANNA]
    api.on("GET", "/users", answer([]))
    assert hotswap("user", "show", "otto", home=tmp_path, api=api) == ExitCode.REFUSED
    assert "there is no user otto" in capsys.readouterr().err


def test_a_user_is_added_with_a_password_from_stdin(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, f"{NEW}\n")
    add = ("user", "add", "anna", "--email", "a@x.example", "--password-stdin")
    assert hotswap(*add, "--role", "deployer", "-r", "Viewer", "--full-name", "Anna B", home=tmp_path, api=api) == 0
    assert api.bodies("POST", "/users") == [
        {
            "username": "anna",
            "email": "a@x.example",
            "fullName": "Anna B",
            "roles": ["deployer", "Viewer"],
            "disabled": False,
            "password": NEW,
        }
    ]
    assert NEW not in "".join(capsys.readouterr())
    stdin(monkeypatch, "")
    assert hotswap(*add, home=tmp_path, api=api) == ExitCode.USAGE
    assert hotswap(*add[:-1], home=tmp_path, api=api) == ExitCode.USAGE
    assert "--password-stdin" in capsys.readouterr().err
    assert hotswap("user", "add", "anna", home=tmp_path, api=api) == ExitCode.USAGE, "an address is needed"
    assert len(api.bodies("POST", "/users")) == 1


def test_a_password_is_typed_twice(tmp_path: Path, api: Api, terminal: list[str]) -> None:
    terminal += [NEW, "not the same", NEW, NEW]
    add = ("user", "add", "anna", "--email", "a@x.example")
    assert hotswap(*add, home=tmp_path, api=api) == ExitCode.USAGE
    assert api.bodies("POST", "/users") == []
    assert hotswap(*add, home=tmp_path, api=api) == 0
    assert [body["password"] for body in api.bodies("POST", "/users")] == [NEW]


def test_no_command_takes_a_password_as_an_argument(tmp_path: Path, api: Api) -> None:
    for command in (("user", "add", "anna", "--email", "x"), ("user", "password", "anna")):
        assert hotswap(*command, "--password", NEW, home=tmp_path, api=api) == ExitCode.USAGE
    assert hotswap("user", "password", "anna", NEW, home=tmp_path, api=api) == ExitCode.USAGE
    assert not any(NEW.encode() in request.content for request in api.requests)


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--disable"], {"disabled": True}),
        (["--enable", "--role", "Admin"], {"disabled": False, "roles": ["Admin"]}),
        (["--email", "b@x.example", "--full-name", "B"], {"email": "b@x.example", "fullName": "B"}),
    ],
)
def test_a_user_is_changed(tmp_path: Path, api: Api, options: list[str], body: dict[str, Any]) -> None:
    assert hotswap("user", "change", "anna", *options, home=tmp_path, api=api) == 0
    assert api.bodies("PATCH", f"/users/{ID}") == [body]


def test_a_lock_is_shown_and_lifted(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    locked = {**ANNA, "lockedUntil": "2026-11-24T05:46:00.000Z"}
    api.on("GET", "/users", answer([locked]))
    api.on("PATCH", f"/users/{ID}", answer({**ANNA, "lockedUntil": None}))
    for command in ("list", "show"):
        assert hotswap("user", command, *(["anna"] if command == "show" else []), home=tmp_path, api=api) == 0
        assert "locked until 2026-11-24" in capsys.readouterr().out
    assert hotswap("user", "unlock", "anna", home=tmp_path, api=api) == 0
    assert api.bodies("PATCH", f"/users/{ID}") == [{"locked": False}]
    assert "anna is not locked" in capsys.readouterr().out


def test_changes_that_make_no_sense_and_those_that_are_refused(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hotswap("user", "change", "anna", home=tmp_path, api=api) == ExitCode.USAGE
    assert hotswap("user", "change", "anna", "--enable", "--disable", home=tmp_path, api=api) == ExitCode.USAGE
    assert api.requests == []
    api.on("PATCH", f"/users/{ID}", problem(409, "anna is the last enabled Admin."))
    assert hotswap("user", "change", "anna", "--disable", home=tmp_path, api=api) == ExitCode.REFUSED
    assert "last enabled Admin" in capsys.readouterr().err
    api.on("GET", "/users", problem(403, "This needs the role Admin."))
    assert hotswap("user", "list", home=tmp_path, api=api) == ExitCode.NOT_PERMITTED
    api.on("POST", "/users", problem(400, "bad", {"email": ["is none"], "roles.0": ["is no role"]}))


def test_a_user_is_removed_when_it_was_meant(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch, terminal: list[str]
) -> None:
    api.on("DELETE", f"/users/{ID}", answer(None, 204))
    assert hotswap("user", "remove", "anna", home=tmp_path, api=api) == 0
    stdin(monkeypatch, "y\n")
    assert hotswap("user", "remove", "anna", home=tmp_path, api=api) == ExitCode.USAGE
    assert len(api.bodies("DELETE", f"/users/{ID}")) == 1
    assert hotswap("user", "remove", "anna", "--yes", home=tmp_path, api=api) == 0


def test_another_password_for_somebody(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, f"{NEW}\r\n")
    arguments = ("user", "password", "anna", "--password-stdin", "--keep-tokens")
    assert hotswap(*arguments, home=tmp_path, api=api) == 0
    assert api.bodies("PATCH", f"/users/{ID}") == [{"password": NEW, "keepTokens": True}]


def test_another_password_for_oneself(
    tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch, terminal: list[str]
) -> None:
    path = "/authentication/password"
    api.on("POST", path, answer(None, 204))
    body = {"currentPassword": OLD, "password": NEW, "keepTokens": False}
    terminal += [OLD, NEW, NEW]
    assert hotswap("user", "password", home=tmp_path, api=api) == 0
    stdin(monkeypatch, f"{OLD}\n{NEW}\n")
    assert hotswap("user", "password", "--password-stdin", home=tmp_path, api=api) == 0
    stdin(monkeypatch, f"{NEW}\n")
    known = {"HOTSWAP_PASSWORD": OLD}
    assert hotswap("user", "password", "--password-stdin", home=tmp_path, api=api, environment=known) == 0
    assert api.bodies("POST", path) == [body] * 3


def test_a_token_alone_is_printed_to_stdout(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("token", "create", "ci", home=tmp_path, api=api) == 0
    out, err = capsys.readouterr()
    assert out == TEXT + "\n" and TEXT not in err and "cannot be shown again" in err
    more = ("--role", "Viewer", "--expires-in", "90d")
    assert hotswap("token", "create", "ci", *more, "-o", "json", home=tmp_path, api=api) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["token"] == TEXT and err == ""
    assert api.bodies("POST", TOKENS) == [{"name": "ci"}, {"name": "ci", "roles": ["Viewer"], "expiresIn": "90d"}]
    both = ("--expires-in", "1d", "--expires-at", "2027-01-01T00:00:00Z")
    assert hotswap("token", "create", "ci", *both, home=tmp_path, api=api) == ExitCode.USAGE


def test_tokens_are_listed(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    used = {**CI, "name": "old", "expired": True, "expiresAt": "2026-01-01T00:00:00.000Z"}
    api.on("GET", TOKENS, answer([CI, used]))
    assert hotswap("token", "list", "--user", "anna", home=tmp_path, api=api) == 0
    assert api.requests[0].url.params["user"] == "anna"
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ci", TEXT[:11] + "\u2026", "Deployer", "revoked", "-"]
    assert "(expired)" in lines[2]
    api.on("GET", TOKENS, answer([]))
    assert hotswap("token", "list", home=tmp_path, api=api) == 0
    assert capsys.readouterr().out == "No API tokens.\n"


@pytest.mark.parametrize("given", ["ci", ID, TEXT[:7], TEXT[:11], TEXT])
def test_a_token_is_revoked_by_what_is_known_of_it(tmp_path: Path, api: Api, given: str) -> None:
    api.on("DELETE", f"{TOKENS}/{ID}", answer(None, 204))
    assert hotswap("token", "revoke", given, "-u", "anna", home=tmp_path, api=api) == 0
    assert api.requests[-1].method == "DELETE" and api.requests[-1].url.params["user"] == "anna"


def test_a_token_that_is_not_there_or_not_the_only_one(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ("x", "hs_", "hs_B" + TEXT[4:]):
        assert hotswap("token", "revoke", given, home=tmp_path, api=api) == ExitCode.REFUSED
        assert TEXT[12:] not in capsys.readouterr().err, "a token is repeated nowhere"
    api.on("GET", TOKENS, answer([CI, {**CI, "id": "2", "name": "other"}]))
    assert hotswap("token", "revoke", TEXT[:8], home=tmp_path, api=api) == ExitCode.USAGE
    assert "2 tokens begin with" in capsys.readouterr().err


def test_who_one_is_with_a_token(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    me = {**ANNA, "token": {"id": ID, "name": "ci", "expiresAt": "2027-01-01T00:00:00.000Z"}}
    api.on("GET", "/authentication/me", answer(me))
    assert hotswap("whoami", home=tmp_path, api=api, environment={"HOTSWAP_TOKEN": TEXT}) == 0
    assert api.requests[-1].headers["Authorization"] == f"Bearer {TEXT}"
    out = capsys.readouterr().out
    assert hotswap("whoami", home=tmp_path, api=api, environment={"HOTSWAP_TOKEN": f" {TEXT}\n"}) == 0
    assert api.requests[-1].headers["Authorization"] == f"Bearer {TEXT}"
    capsys.readouterr()
    assert "ci, good until 2027-01-01 00:00:00Z" in out and TEXT not in out


@pytest.mark.parametrize("broken", [f"{TEXT}\n{TEXT}", f"{TEXT} {TEXT}", f"{TEXT}\x00", f"\u00e9{TEXT}"])
def test_what_is_no_token_is_neither_sent_nor_repeated(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    assert hotswap("status", home=tmp_path, api=api, environment={"HOTSWAP_TOKEN": broken}) == ExitCode.USAGE
    assert api.requests == []
    assert "HOTSWAP_TOKEN" in (said := "".join(capsys.readouterr())) and "AAA" not in said
