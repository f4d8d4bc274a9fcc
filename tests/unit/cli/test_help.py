"""Help: quick, at hand for every command, and honest about what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from tests.unit.cli.harness import hotswap

ROOT = Path(__file__).resolve().parents[3]
GROUPS = {
    "server": {"list", "use", "remove"},
    "keys": {"generate", "trust", "list", "remove"},
    "release": {"publish", "list", "show"},
    "deployment": {
        "list", "show", "watch", "log", "cancel", "pause", "resume", "promote", "rollback", "retry",
    },
    "approval": {"list", "approve", "reject"},
    "node": {"list", "show", "log", "drain", "undrain", "remove"},
    "cluster": {"show"},
    "environment": {"show", "edit", "apply"},
    "user": {"list", "show", "unlock", "add", "change", "remove", "password"},
    "token": {"list", "create", "revoke"},
}  # fmt: skip


def test_help_imports_no_command_and_nothing_slow() -> None:
    """Half of the time to start would be these; it is seen in what is imported, not on a clock."""
    script = (
        "import sys\n"
        "from app.cli.main import COMMANDS\n"
        "from app.cli.program import run\n"
        "code = run(COMMANDS, ['--help'])\n"
        "slow = {'httpx', 'rich', 'yaml', 'cryptography', 'pydantic', 'sqlalchemy', 'flask', 'deploy.local'}\n"
        "print(sorted(slow & set(sys.modules)), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr


def test_help_names_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("--help", home=tmp_path) == 0
    out = capsys.readouterr().out
    for entry in COMMANDS:
        assert f"  {entry.name} " in out
        assert entry.help in out


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_command_has_help_in_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert hotswap(name, "--help", home=tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: hotswap {name} ")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(("group", "names"), GROUPS.items())
def test_every_group_has_its_commands_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], group: str, names: set[str]
) -> None:
    hotswap(group, "--help", home=tmp_path)
    listed = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} == names
    for name in names:
        assert hotswap(group, name, "--help", home=tmp_path) == 0
        assert "--output" in capsys.readouterr().out
