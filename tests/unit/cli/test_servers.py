"""Several servers in one configuration file: named at a login or by hand, chosen by flag, environment, file."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import httpx
import pytest

from app.cli.configuration import Configuration, Flags, configure
from app.cli.errors import UsageProblem
from app.cli.exit_codes import ExitCode
from app.cli.kept_logins import Account, KeptLogins, KeptServer, Session, read_logins, written
from app.cli.sessions import MARKER, SessionFile
from tests.unit.cli.harness import Api, answer, hotswap, problem

PROD, LAB = "https://prod.example", "http://127.0.0.1:4711"
ANNA = {"HOTSWAP_TOKEN": "", "HOTSWAP_URL": "", "HOTSWAP_USERNAME": "anna", "HOTSWAP_PASSWORD": "correct horse"}
NOBODY = {"HOTSWAP_TOKEN": "", "HOTSWAP_URL": ""}


def config(home: Path) -> Path:
    return home / ".config" / "hotswap" / "config.toml"


def by_hand(home: Path, text: str) -> None:
    config(home).parent.mkdir(parents=True, exist_ok=True)
    config(home).write_text(text)


def configured(home: Path, *, url: str | None = None, server: str | None = None, **more: str) -> Configuration:
    return configure(Flags(url=url, server=server), {"HOME": str(home), "HOTSWAP_DATA_DIR": str(home / "no"), **more})


@pytest.fixture
def api() -> Api:
    """Gives each login a token of its own number."""
    api = Api()

    def log_in(request: httpx.Request) -> httpx.Response:
        number = len(api.bodies("POST", "/authentication/login"))
        return answer({"token": f"token{number}", "refreshToken": f"refresh{number}", "user": {"username": "anna"}})

    api.on("POST", "/authentication/login", log_in)
    api.on("POST", "/authentication/logout", httpx.Response(204))
    api.on("GET", "/authentication/me", answer({"username": "anna", "roles": []}))
    return api


def logged_in(home: Path, api: Api, *flags: str) -> None:
    assert hotswap("login", *flags, home=home, api=api, environment=ANNA) == ExitCode.DONE


def asked(home: Path, api: Api, *flags: str, **more: str) -> tuple[str, str]:
    """Server and token of a command."""
    assert hotswap("whoami", *flags, home=home, api=api, environment={**NOBODY, **more}) == ExitCode.DONE
    request = api.requests[-1]
    return f"{request.url.scheme}://{request.url.netloc.decode()}", request.headers["Authorization"]


def test_a_login_gives_a_name_and_flag_environment_and_file_choose(tmp_path: Path, api: Api) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    logged_in(tmp_path, api, "--name", "lab", "--url", LAB)
    assert asked(tmp_path, api) == (LAB, "Bearer token2")  # the last login is the default
    assert asked(tmp_path, api, "--server", "prod") == (PROD, "Bearer token1")
    assert asked(tmp_path, api, HOTSWAP_SERVER="prod") == (PROD, "Bearer token1")
    assert asked(tmp_path, api, "--server", "lab", HOTSWAP_SERVER="prod") == (LAB, "Bearer token2")
    assert asked(tmp_path, api, "--server", "lab", HOTSWAP_URL=PROD) == (LAB, "Bearer token2")
    assert hotswap("server", "use", "prod", home=tmp_path, api=api, environment=NOBODY) == 0
    assert asked(tmp_path, api) == (PROD, "Bearer token1")
    assert stat.S_IMODE(config(tmp_path).stat().st_mode) == 0o600
    assert [each.name for each in config(tmp_path).parent.iterdir() if each.name.startswith(".")] == []


def test_two_names_for_one_url_are_two_logins(tmp_path: Path, api: Api) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    logged_in(tmp_path, api, "--name", "prod-admin", "--url", PROD)
    logged_in(tmp_path, api, "--url", PROD)
    assert asked(tmp_path, api, "--server", "prod")[1] == "Bearer token1"
    assert asked(tmp_path, api, "--server", "prod-admin")[1] == "Bearer token2"
    assert asked(tmp_path, api, "--url", PROD)[1] == "Bearer token3"


def test_logging_in_again_by_name_needs_no_url(tmp_path: Path, api: Api) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    logged_in(tmp_path, api, "--url", LAB)
    logged_in(tmp_path, api, "--server", "prod")
    assert asked(tmp_path, api) == (PROD, "Bearer token3")
    logged_in(tmp_path, api, "--name", "prod")
    assert asked(tmp_path, api) == (PROD, "Bearer token4")
    logged_in(tmp_path, api, "--name", "prod", "--url", LAB)  # it has moved
    assert asked(tmp_path, api) == (LAB, "Bearer token5")


def test_a_name_written_by_hand_is_kept_and_comes_with_its_key(tmp_path: Path, api: Api) -> None:
    text = f'# ours\nserver = "prod"\n[servers.prod]\nurl = "{PROD}/"\nsigning_key = "/keys/prod.key"\n'
    by_hand(tmp_path, text)
    assert configured(tmp_path).url == PROD
    assert configured(tmp_path).signing_key == Path("/keys/prod.key")
    assert configured(tmp_path, HOTSWAP_SIGNING_KEY="/keys/ci.key").signing_key == Path("/keys/ci.key")
    logged_in(tmp_path, api, "--server", "prod")
    assert config(tmp_path).read_text().startswith(text + "\n" + MARKER)
    assert asked(tmp_path, api) == (PROD, "Bearer token1")
    assert hotswap("server", "remove", "prod", home=tmp_path, api=api, environment=NOBODY) == ExitCode.USAGE
    by_hand(tmp_path, config(tmp_path).read_text().replace(f"{PROD}/", "https://moved.example"))
    assert configured(tmp_path).sessions.get(configured(tmp_path).account) is None  # that login was for another URL


def test_use_says_what_still_comes_first(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    by_hand(tmp_path, f'url = "{LAB}"\n')
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    assert hotswap("server", "use", "prod", home=tmp_path, api=api, environment=NOBODY) == 0
    assert "config.toml comes first" in capsys.readouterr().err
    assert configured(tmp_path).url == LAB


def test_servers_are_listed_without_their_tokens(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hotswap("server", "list", home=tmp_path, environment=NOBODY) == 0
    assert "hotswap login --name" in capsys.readouterr().out
    by_hand(tmp_path, f'[servers.qa]\nurl = "{LAB}"\n')
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    logged_in(tmp_path, api, "--url", "https://other.example")
    capsys.readouterr()
    assert hotswap("server", "list", home=tmp_path, environment=NOBODY) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["prod", PROD, "anna"],
        ["qa", LAB, "-"],
        ["*", "-", "https://other.example"],
    ]
    assert hotswap("server", "list", "-o", "json", "--server", "prod", home=tmp_path, environment=NOBODY) == 0
    out = capsys.readouterr().out
    assert [each["current"] for each in json.loads(out)] == [True, False, False]
    assert "token" not in out
    assert "refresh" not in out


def test_removing_revokes_and_forgets(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    assert hotswap("server", "remove", "prod", home=tmp_path, api=api, environment=NOBODY) == 0
    assert api.bodies("POST", "/authentication/logout") == [{"refreshToken": "refresh1"}]
    assert "token1" not in config(tmp_path).read_text()
    assert hotswap("whoami", "--server", "prod", home=tmp_path, environment=NOBODY) == ExitCode.USAGE
    assert "there is no server 'prod' (none has a name yet)" in capsys.readouterr().err
    assert configured(tmp_path).url == "http://127.0.0.1:8000"


def test_a_server_that_is_away_is_forgotten_all_the_same(tmp_path: Path, api: Api) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    api.on("POST", "/authentication/logout", problem(503, "not now"))
    assert hotswap("server", "remove", "prod", home=tmp_path, api=api, environment=NOBODY) == 0
    assert configured(tmp_path).servers == {}


def test_logging_out_keeps_the_name(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    assert hotswap("logout", home=tmp_path, api=api, environment=NOBODY) == 0
    assert configured(tmp_path).account == Account(PROD, "prod")
    assert hotswap("whoami", home=tmp_path, api=api, environment=NOBODY) == ExitCode.UNREACHABLE
    assert "hotswap login --server prod" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--name", "no name"), "cannot be a server's name"),
        (("--name", "https://x"), "cannot be a server's name"),
        (("--name", "new", "--server", "prod"), "leave --name out"),
        (("--server", "nowhere"), "there is no server 'nowhere' (there are prod)"),
        (("--server", "prod", "--url", LAB), "--url and --server are both given"),
        (("--name", "prod", "--url", LAB), "has another url"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    by_hand(tmp_path, f'[servers.prod]\nurl = "{PROD}"\n')
    assert hotswap("login", *flags, home=tmp_path, api=api, environment=ANNA) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert api.requests == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers = 5", "must be tables"),
        ("[servers]\nprod = 5", "needs a url"),
        ("[servers.prod]\nname = 'x'", "needs a url"),
        ("[servers.prod]\nurl = 'here'", r"\[servers.prod\]: 'here' is not the URL"),
        ("[servers.prod]\nurl = 'https://x'\ntoken = 't'", "does not exist: token"),
        ("[servers.prod]\nurl = 'https://x'\nsigning_key = 5", "must be a text"),
        ("[servers.'a b']\nurl = 'https://x'", "cannot be a server's name"),
        ("url = 'https://x'\nserver = 'prod'", "are both given"),
        ("server = 'prod'", "there is no server 'prod'"),
        ("server = 5", "must be a text"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    by_hand(tmp_path, text)
    with pytest.raises(UsageProblem, match=said):
        configured(tmp_path)


def test_url_and_name_in_the_environment_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="HOTSWAP_URL and HOTSWAP_SERVER are both given"):
        configured(tmp_path, HOTSWAP_URL=PROD, HOTSWAP_SERVER="prod")


def test_files_of_one_server_are_still_read(tmp_path: Path) -> None:
    """As versions before named servers wrote them."""
    old = f'{MARKER}\n[login]\nurl = "{PROD}"\n\n[login.sessions."{PROD}"]\nusername = "anna"\ntoken = "t"\n'
    by_hand(tmp_path, old)
    configuration = configured(tmp_path)
    assert (configuration.url, configuration.server) == (PROD, None)
    assert configuration.sessions.get(configuration.account) == Session("anna", "t")
    SessionFile(config(tmp_path)).put(Account(LAB, "lab"), Session("bert", "u"))
    assert configured(tmp_path).account == Account(LAB, "lab")
    assert configured(tmp_path).sessions.get(Account(PROD)) == Session("anna", "t")


def test_what_a_killed_command_left_half_written_goes_with_the_next(tmp_path: Path, api: Api) -> None:
    logged_in(tmp_path, api, "--name", "prod", "--url", PROD)
    left = config(tmp_path).with_name(".config.toml.new")
    left.write_text('[login]\ntoken = "of somebody')
    logged_in(tmp_path, api, "--name", "lab", "--url", LAB)
    assert not left.exists()
    assert {*configured(tmp_path).servers} == {"prod", "lab"}


def test_what_is_kept_is_read_back_whatever_is_in_it() -> None:
    odd = Session('a"\\\né\x7f', "t", "r", "2026-01-01T00:00:00Z")
    logins = KeptLogins(PROD, None, {PROD: odd}, {"prod": KeptServer(PROD, odd), "lab": KeptServer(LAB)})
    assert read_logins(tomllib.loads("\n".join(written(logins)))) == logins
    named = logins.with_default(Account(LAB, "lab"))
    assert read_logins(tomllib.loads("\n".join(written(named)))) == named
    for broken in ({}, {"login": 5}, {"login": {"sessions": 5, "servers": {"x": 5, "a b": {"url": PROD}}, "url": 5}}):
        assert read_logins(broken) == KeptLogins()
