"""`hotswap up` and `hotswap doctor` as a person types them; nothing is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.cli.program import run


def typed(*words: str) -> int:
    return int(run(COMMANDS, list(words)))


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_it_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(command, "--help") == 0
    assert "--data-dir" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["nonsense", "up --nodes qa", "up --port 99999", "up --wrong"])
def test_wrong_usage_is_code_2(words: str) -> None:
    assert typed(*words.split()) == 2


def test_doctor_says_what_it_found_and_fails_for_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert typed("doctor", "--data-dir", str(tmp_path / "data"), "--port", "0") == 0
    assert "SO_ATTACH_REUSEPORT_CBPF works" in capsys.readouterr().out
    assert typed("doctor", "--data-dir", str(tmp_path / "file" / "data"), "--port", "0") == 2
    assert "FAIL  data folder" in capsys.readouterr().out


def test_the_command_starts_without_the_imports_of_others() -> None:
    """A build server calls it often: no command pays for what another one needs."""
    code = "import sys, app.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"httpx", "psycopg", "pydantic", "sqlalchemy", "celery", "deploy.local.stack"})
