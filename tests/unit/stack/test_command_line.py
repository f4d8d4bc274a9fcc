"""`hotswap up` and `hotswap doctor` as a person types them; nothing is started."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import COMMANDS, app

RUNNER = CliRunner()


def test_every_command_is_there_with_a_help() -> None:
    shown = RUNNER.invoke(app, ["--help"], terminal_width=200)
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert name in shown.output
        assert RUNNER.invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("typed", ["nonsense", "up --nodes qa", "up --port 99999", "up --wrong"])
def test_wrong_usage_is_code_2(typed: str) -> None:
    assert RUNNER.invoke(app, typed.split()).exit_code == 2


def test_doctor_says_what_it_found_and_fails_for_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    good = RUNNER.invoke(app, ["doctor", "--data-dir", str(tmp_path / "data"), "--port", "0"])
    assert good.exit_code == 0, good.output
    assert "SO_ATTACH_REUSEPORT_CBPF works" in good.output
    bad = RUNNER.invoke(app, ["doctor", "--data-dir", str(tmp_path / "file" / "data"), "--port", "0"])
    assert bad.exit_code == 2
    assert "FAIL  data folder" in bad.output


def test_the_command_starts_without_the_imports_of_others() -> None:
    """A build server calls it often: no command pays for what another one needs."""
    code = "import sys, app.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"httpx", "psycopg", "pydantic", "sqlalchemy", "celery", "deploy.local.stack"})
