"""Users and API tokens by command, against the real API: a build server's whole day with a token."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from tests.integration.cli.conftest import DEPLOYER, Hotswap

FIRST, SECOND = "bertas-lucky-number", "a-luckier-one-13"


def as_user(name: str, password: str) -> dict[str, str]:
    return {"HOTSWAP_USERNAME": name, "HOTSWAP_PASSWORD": password}


def with_token(token: str) -> dict[str, str]:
    return {"HOTSWAP_TOKEN": token, "HOTSWAP_USERNAME": "", "HOTSWAP_PASSWORD": ""}


def test_a_build_server_needs_a_token_and_nothing_else(hotswap: Hotswap, tmp_path: Path) -> None:
    deployer = as_user("deployer", DEPLOYER)
    made = hotswap("token", "create", "ci", "--expires-in", "90d", **deployer)
    assert made.code == 0, made.err
    token = made.out.strip()
    build_server = with_token(token)
    me = hotswap("whoami", **build_server)
    assert me.code == 0 and "deployer" in me.out and "ci, good until " in me.out
    assert hotswap("init", str(tmp_path / "web-ci")).code == 0
    assert hotswap("release", "publish", str(tmp_path / "web-ci"), **build_server).code == 0
    submitted = hotswap("deploy", "web-ci", "1.0.0", "--to", "QA", "-o", "json", **build_server)
    assert submitted.code == 0, submitted.err
    identity = json.loads(submitted.out)["executionId"]
    shown = hotswap("deployment", "show", identity, **build_server)
    assert "requested by" in shown.out and "deployer" in shown.out and "with the token" in shown.out
    assert hotswap("deployment", "cancel", identity, **build_server).code == 0
    for command in (("status",), ("node", "list"), ("environment", "show", "QA"), ("token", "list")):
        assert hotswap(*command, **build_server).code == 0, command

    forbidden = hotswap("token", "create", "child", **build_server)
    assert forbidden.code == ExitCode.NOT_PERMITTED
    assert "An API token cannot make tokens" in forbidden.err
    assert hotswap("user", "list", **build_server).code == ExitCode.NOT_PERMITTED
    too_much = hotswap("token", "create", "more", "--role", "Admin", **deployer)
    assert too_much.code == ExitCode.REFUSED
    assert "  roles: " in too_much.err
    listed = hotswap("token", "list", "--user", "deployer")
    assert listed.code == 0 and "ci" in listed.out and token not in listed.out
    assert hotswap("token", "revoke", "ci").code == ExitCode.REFUSED, "it is not the Admin's own"
    assert hotswap("token", "revoke", "ci", "--user", "deployer").code == 0
    revoked = hotswap("status", **build_server)
    assert revoked.code == ExitCode.UNREACHABLE
    assert "HOTSWAP_TOKEN" in revoked.err and token not in revoked.err


def test_a_user_comes_and_goes(hotswap: Hotswap, monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    add = ("user", "add", "carl", "--email", "carl@example.com", "--role", "Deployer", "--password-stdin")
    typed("carls-lucky-number")
    weak = hotswap(*add)
    assert weak.code == ExitCode.REFUSED
    assert "  password: contains 'carl'" in weak.err and "lucky" not in weak.err
    typed(FIRST)
    assert hotswap(*add).code == 0
    typed(FIRST)
    assert hotswap(*add).code == ExitCode.REFUSED, "there is one already"
    carl = as_user("carl", FIRST)
    assert hotswap("whoami", **carl).code == 0
    typed(SECOND)
    assert hotswap("user", "password", "--password-stdin", **carl).code == 0
    assert hotswap("whoami", **carl).code == ExitCode.UNREACHABLE
    carl = as_user("carl", SECOND)
    assert hotswap("user", "change", "carl", "--role", "Viewer").code == 0
    assert hotswap("token", "create", "ci", **carl).code == 0
    assert hotswap("user", "change", "carl", "--disable").code == 0
    assert hotswap("whoami", **carl).code == ExitCode.UNREACHABLE
    shown = json.loads(hotswap("user", "show", "carl", "-o", "json").out)
    assert (shown["roles"], shown["disabled"]) == (["Viewer"], True)
    assert "carl" in hotswap("user", "list").out
    last = hotswap("user", "change", "admin", "--disable")
    assert last.code == ExitCode.REFUSED and "last enabled Admin" in last.err
    assert hotswap("user", "remove", "carl", "--yes").code == 0
    assert hotswap("user", "show", "carl").code == ExitCode.REFUSED
