"""Logging in, staying logged in, and the file that remembers it."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from app.cli.exit_codes import ExitCode
from app.cli.kept_logins import Account, Session
from app.cli.sessions import MARKER, SessionFile
from tests.unit.cli.harness import URL, Api, answer, hotswap, problem

ME = {"id": "1", "username": "anna", "email": "anna@x.example", "fullName": "Anna", "roles": ["Deployer"]}
IN_AN_HOUR = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
NOBODY = {"HOTSWAP_TOKEN": ""}


def session(number: int, expires: str = IN_AN_HOUR) -> httpx.Response:
    return answer({"token": f"token{number}", "refreshToken": f"refresh{number}", "expiresAt": expires, "user": ME})


def kept(home: Path) -> SessionFile:
    return SessionFile(home / ".config" / "hotswap" / "config.toml")


def bearer(request: httpx.Request) -> str:
    return str(request.headers.get("Authorization", "")).removeprefix("Bearer ")


def test_a_login_is_kept_in_a_file_that_only_we_may_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("POST", "/authentication/login", session(1))
    given = {**NOBODY, "HOTSWAP_USERNAME": "anna", "HOTSWAP_PASSWORD": "correct horse"}
    assert hotswap("login", home=tmp_path, api=api, environment=given) == ExitCode.DONE
    assert api.bodies("POST", "/authentication/login") == [{"username": "anna", "password": "correct horse"}]
    file = tmp_path / ".config" / "hotswap" / "config.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert kept(tmp_path).get(Account(URL)) == Session("anna", "token1", "refresh1", IN_AN_HOUR)
    assert "correct horse" not in file.read_text() + "".join(capsys.readouterr())

    api.on("GET", "/authentication/me", answer(ME))
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.DONE
    assert bearer(api.requests[-1]) == "token1"
    assert "Deployer" in capsys.readouterr().out


@pytest.mark.parametrize("status", [401, 423, 429])
def test_a_login_that_is_refused_is_3_and_keeps_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    api = Api()
    api.on("POST", "/authentication/login", problem(status, "Not now."))
    given = {**NOBODY, "HOTSWAP_USERNAME": "anna", "HOTSWAP_PASSWORD": "wrong"}
    assert hotswap("login", home=tmp_path, api=api, environment=given) == ExitCode.UNREACHABLE
    assert "cannot log in as anna: Not now." in capsys.readouterr().err
    assert kept(tmp_path).get(Account(URL)) is None


def test_a_token_is_renewed_before_it_expires_and_when_it_is_refused(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    kept(tmp_path).put(Account(URL), Session("anna", "token1", "refresh1", soon))
    api = Api()
    api.on("POST", "/authentication/refresh", session(2), session(3))
    api.on("GET", "/authentication/me", answer(ME), problem(401, "expired"), answer(ME))
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.DONE
    assert bearer(api.requests[-1]) == "token2"
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.DONE
    assert bearer(api.requests[-1]) == "token3"
    sent = api.bodies("POST", "/authentication/refresh")
    assert sent == [{"refreshToken": "refresh1"}, {"refreshToken": "refresh2"}]


def test_commands_at_the_same_time_renew_once(tmp_path: Path) -> None:
    """A refresh token is good once: a second use of it would end the session."""
    kept(tmp_path).put(Account(URL), Session("anna", "token1", "refresh1", datetime.now(UTC).isoformat()))
    api = Api()
    api.on("POST", "/authentication/refresh", session(2), problem(401, "used before"))
    api.on("GET", "/authentication/me", answer(ME))
    codes: list[int] = []

    def whoami() -> None:
        codes.append(hotswap("whoami", "-o", "json", home=tmp_path, api=api, environment=NOBODY))

    threads = [threading.Thread(target=whoami) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert codes == [0] * 6
    assert len(api.bodies("POST", "/authentication/refresh")) == 1


def test_a_session_that_has_ended_asks_for_a_login(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path).put(Account(URL), Session("anna", "token1", "refresh1", IN_AN_HOUR))
    api = Api()
    api.on("GET", "/authentication/me", problem(401, "revoked"))
    api.on("POST", "/authentication/refresh", problem(401, "revoked"))
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.UNREACHABLE
    assert "run `hotswap login` again" in capsys.readouterr().err


def test_a_login_is_for_its_own_server_only(tmp_path: Path) -> None:
    kept(tmp_path).put(Account("https://production.example"), Session("anna", "secret"))
    api = Api()
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.UNREACHABLE
    assert api.requests == []


def test_name_and_password_from_the_environment_leave_no_file(tmp_path: Path) -> None:
    api = Api()
    api.on("POST", "/authentication/login", session(1), session(2))
    api.on("GET", "/authentication/me", problem(401, "expired"), answer(ME))
    given = {**NOBODY, "HOTSWAP_USERNAME": "anna", "HOTSWAP_PASSWORD": "correct horse"}
    assert hotswap("whoami", home=tmp_path, api=api, environment=given) == ExitCode.DONE
    assert bearer(api.requests[-1]) == "token2"
    assert not (tmp_path / ".config").exists()


def test_a_token_is_not_logged_out_and_ends_nobody_elses_login(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    assert hotswap("logout", home=tmp_path, api=api) == ExitCode.USAGE
    kept(tmp_path).put(Account(URL), Session("anna", "token1", "refresh1", IN_AN_HOUR))
    assert hotswap("logout", home=tmp_path, api=api) == ExitCode.USAGE
    assert f"the login of anna to {URL} is left alone" in capsys.readouterr().err
    assert api.requests == []
    assert kept(tmp_path).get(Account(URL)) is not None


def test_logging_out_tells_the_server_and_forgets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path).put(Account(URL), Session("anna", "token1", "refresh1", IN_AN_HOUR))
    api = Api()
    api.on("POST", "/authentication/logout", httpx.Response(204))
    assert hotswap("logout", home=tmp_path, api=api, environment=NOBODY) == ExitCode.DONE
    assert api.bodies("POST", "/authentication/logout") == [{"refreshToken": "refresh1"}]
    assert capsys.readouterr().out == f"anna is logged out of {URL}.\n"
    assert kept(tmp_path).get(Account(URL)) is None


def test_what_a_person_wrote_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('# ours\nurl = "https://one.example"  # always\n')
    sessions = SessionFile(path)
    sessions.put(Account("https://one.example"), Session("anna", 'a"\\\u00e9\x7f', "r", "2026-01-01T00:00:00Z"))
    sessions.put(Account("https://two.example"), Session("bert", "b"))
    assert path.read_text().startswith('# ours\nurl = "https://one.example"  # always\n\n' + MARKER)
    assert path.read_text().count(MARKER) == 1
    kept_one = Session("anna", 'a"\\\u00e9\x7f', "r", "2026-01-01T00:00:00Z")
    assert sessions.get(Account("https://one.example")) == kept_one
    assert sessions.logins().default_url == "https://two.example"
    sessions.remove(Account("https://two.example"))
    assert sessions.get(Account("https://two.example")) is None
    assert sessions.logins().default_url is None


def test_a_configuration_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    link = tmp_path / "config.toml"
    link.symlink_to(tmp_path / "dotfiles" / "hotswap.toml")
    SessionFile(link).put(Account(URL), Session("anna", "t"))
    assert link.is_symlink()
    assert SessionFile(link).get(Account(URL)) == Session("anna", "t")
