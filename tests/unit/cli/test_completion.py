"""What completion offers, to whom it listens, and where its scripts go. Real shells: integration/cli/test_shells.py."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from app.cli import known_names, known_words
from app.cli.completion import MARK, SCRIPTS, Shell
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.main import COMMANDS
from app.cli.program import run
from app.domain.deployment import DeploymentStatus, StageKind
from app.orchestrator.nodes import NodeStatus
from tests.unit.cli.harness import DEPLOYMENT, URL, Api, answer, client_of, deployment, hotswap, problem

WAITING = "0192f0c1-2222-7000-8000-000000000002"
RELEASES = [{"version": "1.1.0", "createdAt": "2026-11-24T05:31:00Z"}, {"version": "1.0.0", "createdAt": None}]


@pytest.fixture
def api() -> Api:
    api = Api()
    names = ["web-one", "web-two", "payment", "$(reboot)", "a b", "-rf", "*"]
    api.on("GET", "/modules", answer([{"name": name, "latestVersion": "1.1.0"} for name in names]))
    api.on("GET", "/modules/web-one/releases", answer(RELEASES))
    api.on("GET", "/environments", answer([{"name": name, "strategy": "rolling"} for name in ("QA", "Production")]))
    api.on("GET", "/nodes", answer([{"hostname": "qa-1", "environment": "QA", "status": "healthy"}]))
    api.on("GET", "/deployments", answer([deployment("Running")]))
    waiting = {"deploymentExecutionId": WAITING, "moduleName": "web-one", "version": "1.1.0", "targetEnvironment": "QA"}
    api.on("GET", "/approvals/pending", answer([waiting]))
    api.on("GET", "/users", answer([{"username": "anna", "roles": ["Viewer"]}, {"username": "bert", "roles": []}]))
    api.on("GET", "/authentication/tokens", answer([{"name": "ci", "expiresAt": None}]))
    api.on("GET", "/keys", answer([{"keyId": "0123456789abcdef", "name": "team; `reboot`"}]))
    return api


def asked(line: str, home: Path, api: Api | None, **more: str) -> int:
    environment = {"HOME": str(home), "HOTSWAP_URL": URL, "HOTSWAP_TOKEN": "t", "HOTSWAP_DATA_DIR": str(home / "no")}
    environment |= {"_HOTSWAP_COMPLETE": "lines", "_HOTSWAP_LINE": line, **more}
    connect = (lambda configuration: client_of(configuration, api)) if api is not None else None
    return run(COMMANDS, [], Invocation({key: value for key, value in environment.items() if value}, connect=connect))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hotswap dep", ["deploy", "deployment"]),
        ("hotswap deployment p", ["pause", "promote"]),
        ("hotswap deploy web-", ["web-one", "web-two"]),
        ("hotswap deploy ", ["web-one", "web-two", "payment"]),
        ("hotswap deploy 'pay", ["payment"]),
        ("/opt/x/hotswap -o json deploy web-one ", ["1.1.0", "1.0.0"]),
        ("hotswap deploy web-one 1.1.0 --to ", ["QA", "Production"]),
        ("hotswap deploy web-one 1.1.0 --to=P", ["Production"]),
        ("hotswap deploy --dry", ["--dry-run"]),
        ("hotswap rollback web-one --in Q", ["QA"]),
        ("hotswap rollback web-one --to ", ["1.1.0", "1.0.0"]),
        ("hotswap status pay", ["payment"]),
        ("hotswap release list w", ["web-one", "web-two"]),
        ("hotswap deployment show ", [DEPLOYMENT]),
        ("hotswap approval approve 01", [WAITING]),  # and none that has ended
        ("hotswap approval reject ", [WAITING]),
        ("hotswap deployment log --stage B", ["Build"]),
        ("hotswap deployment log --stage ", ["Build", "Test", "Approval", "Deploy", "Validation"]),
        ("hotswap deployment list --status Pa", ["Paused"]),
        ("hotswap deployment list --status Paused,R", ["Paused,Running", "Paused,RollingBack", "Paused,RolledBack",
                                                       "Paused,Rejected"]),
        ("hotswap node list --status H", ["Healthy"]),
        ("hotswap node log q", ["qa-1"]),
        ("hotswap node log qa-1 p", ["payment"]),
        ("hotswap cluster show P", ["Production"]),
        ("hotswap environment edit Q", ["QA"]),
        ("hotswap keys remove ", ["0123456789abcdef"]),
        ("hotswap user show a", ["anna"]),
        ("hotswap token revoke ", ["ci"]),
        ("hotswap init --language ", ["python", "node", "java", "static"]),
        ("hotswap release publish ", []),  # a path: the shell's own business
    ],
)
def test_what_could_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], api: Api, line: str, words: list[str]
) -> None:
    asked(line, tmp_path, api)
    out, err = capsys.readouterr()
    found = [each.partition("\t")[0] for each in out.splitlines()]
    assert found == words
    assert err == ""


@pytest.mark.parametrize("line", ["", "hotswap", "hotswap nonsense ", "hotswap 'no end"])
def test_where_nothing_is_known_there_are_the_commands_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    asked(line, tmp_path, None)
    out, err = capsys.readouterr()
    assert {each.partition("\t")[0] for each in out.splitlines()} <= {entry.name for entry in COMMANDS}
    assert err == ""


def test_the_words_are_those_of_the_server() -> None:
    assert list(known_words.DEPLOYMENT_STATUSES) == [status.value for status in DeploymentStatus]
    assert list(known_words.NODE_STATUSES) == [status.value for status in NodeStatus]
    assert {*known_words.STAGES, "Security Scan"} == {kind.value for kind in StageKind}


def test_explanations_hold_nothing_that_a_shell_could_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], api: Api
) -> None:
    asked("hotswap keys remove ", tmp_path, api)
    assert capsys.readouterr().out == "0123456789abcdef\tteam reboot\n"


@pytest.mark.parametrize(
    "wrong", [problem(401, "expired"), problem(503, "not now"), answer({"no": "list"}), answer([1])]
)
def test_a_server_that_does_not_answer_as_it_should_is_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: object
) -> None:
    api = Api()
    api.answers["GET", "/modules"] = [wrong]  # type: ignore[list-item]  # one of several kinds
    asked("hotswap deploy ", tmp_path, api)
    assert capsys.readouterr() == ("", "")


def test_no_server_no_login_and_a_broken_configuration_are_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked("hotswap deploy ", tmp_path, None)  # nothing listens at URL
    asked("hotswap deploy ", tmp_path, None, HOTSWAP_TOKEN="")
    (tmp_path / "broken.toml").write_text("= no TOML")
    asked("hotswap deploy ", tmp_path, None, HOTSWAP_CONFIG=str(tmp_path / "broken.toml"))
    assert capsys.readouterr() == ("", "")


def test_a_server_that_never_answers_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_names, "TIME_LIMIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        asked("hotswap deploy ", tmp_path, None, HOTSWAP_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 20  # the client itself would wait for 30
    assert capsys.readouterr() == ("", "")


def test_a_password_is_not_sent_for_a_tab(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        password = {"HOTSWAP_USERNAME": "a", "HOTSWAP_PASSWORD": "b"}
        asked("hotswap deploy ", tmp_path, None, HOTSWAP_URL=url, HOTSWAP_TOKEN="", **password)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("shell", Shell)
def test_a_script_is_printed_or_installed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shell: Shell
) -> None:
    assert hotswap("completion", shell.value, home=tmp_path) == 0
    script = (SCRIPTS / f"hotswap.{shell.value}").read_text()
    assert capsys.readouterr().out == script
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'")
    for _ in range(2):
        assert hotswap("completion", shell.value, "--install", home=tmp_path) == 0
    assert script in [each.read_text() for each in tmp_path.rglob("*") if each.is_file()]
    for start_up in (".bashrc", ".zshrc"):
        if start_up == f".{shell.value}rc":
            text = (tmp_path / start_up).read_text()
            assert text.count(MARK) == 1
            assert text.endswith(f"{MARK}\n")
    assert (tmp_path / ".bashrc").read_text().startswith("alias ll='ls -l'")


def test_the_shell_is_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("completion", home=tmp_path, environment={"SHELL": "/usr/bin/zsh"}) == 0
    assert "#compdef hotswap" in capsys.readouterr().out
    assert hotswap("completion", home=tmp_path, environment={"SHELL": "/bin/tcsh"}) == ExitCode.USAGE
    assert "name bash, zsh or fish" in capsys.readouterr().err


def test_an_installed_script_is_loaded_by_a_new_bash(tmp_path: Path) -> None:
    home = tmp_path / "it's home"
    home.mkdir()
    assert hotswap("completion", "bash", "--install", home=home) == 0
    command = ["bash", "--rcfile", str(home / ".bashrc"), "-ic", "complete -p hotswap"]
    done = subprocess.run(command, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert "-F _hotswap_completion hotswap" in done.stdout
