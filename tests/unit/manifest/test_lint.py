"""Advice on manifests that are valid and probably not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.manifest import Finding, lint, parse_manifest

ROOT = Path(__file__).parent.parent.parent.parent


def findings(command: str, more: str = "", run: str = "", files: dict[str, bool] | None = None) -> list[Finding]:
    """Advice on a process with that command."""
    text = f"name: abc\nversion: 1.0.0\nkind: process\nrun:\n  command: {command}\n{run}{more}"
    return lint(parse_manifest(text.encode()), files)


@pytest.mark.parametrize(
    "command",
    ['["sh", "-c", "python3 server.py"]', '["/bin/bash", "-lc", "cd x; python3 server.py; true"]',
     '["sh", "-c", "exec a; b"]', '["bash", "-c", "exec a\\nb"]'],
)  # fmt: skip
def test_a_shell_that_stays_in_front(command: str) -> None:
    (found,) = findings(command)
    assert found.path == "run.command"
    assert "without exec" in str(found)


@pytest.mark.parametrize(
    "command", ['["sh", "-c", "exec python3 server.py"]', '["sh", "-c", "umask 7; exec a"]', '["sh", "start.sh"]',
                '["python3", "-c", "x"]', '["sh"]']
)  # fmt: skip
def test_a_shell_that_steps_aside(command: str) -> None:
    assert findings(command) == []


@pytest.mark.parametrize("program", ["su", "sudo", "/usr/bin/nohup", "npm"])
def test_programs_that_stay_in_front(program: str) -> None:
    (found,) = findings(f'["{program}", "x"]')
    assert "start the program itself" in found.message


def test_a_socket_without_a_question() -> None:
    found = findings("[x]", run="  listen: 0.0.0.0:80\n")
    assert [one.path for one in found] == ["health", "metrics"]


def test_interrupting_and_cutting_off() -> None:
    found = findings("[x]", "health: {path: /h}\nmetrics: {path: /m}\ndrain: {timeout: 0}\n",
                     "  listen: 0.0.0.0:80\n  handover: none\n")  # fmt: skip
    assert [one.path for one in found] == ["run.handover", "drain.timeout"]


def test_secrets_in_the_archive() -> None:
    (found,) = findings("[x]", run="  environment: {DB_PASSWORD: x, LOG_LEVEL: info}\n")
    assert found.path == "run.environment.DB_PASSWORD"


def test_files_that_nobody_is_told_about() -> None:
    (found,) = lint(parse_manifest(b"name: abc\nversion: 1.0.0\nkind: files\n"))
    assert found.path == "files.destination"


def test_programs_in_the_folder() -> None:
    files = {"plain": False, "bin/run": True}
    assert "is not in the folder" in findings('["./missing"]', files=files)[0].message
    assert "chmod +x" in findings('["./plain"]', files=files)[0].message
    assert findings('["./bin//run"]', files=files) == []
    assert findings('["/bin/sh"]', files=files) == []
    hooked = b"name: abc\nversion: 1.0.0\nkind: files\nhooks: {afterInstall: {command: [hooks/x]}}\n"
    assert lint(parse_manifest(hooked), files)[0].path == "hooks.afterInstall.command"


def test_what_a_build_makes_is_not_missing_and_should_be_tested() -> None:
    build, test = "build: {command: [make], output: dist}\n", "test: {command: [make, test]}\n"
    assert findings('["./made"]', build + test, files={}) == []
    assert [one.path for one in findings('["./made"]', build, files={})] == ["test"]


@pytest.mark.parametrize("name", ["web-greeter", "static-site", "queue-worker", "java-greeter"])
def test_the_examples_are_beyond_reproach(name: str) -> None:
    folder = ROOT / "examples" / name
    files = {each.relative_to(folder).as_posix(): bool(each.stat().st_mode & 0o100) for each in folder.rglob("*")}
    assert lint(parse_manifest((folder / "hotswap.yaml").read_bytes()), files) == []
