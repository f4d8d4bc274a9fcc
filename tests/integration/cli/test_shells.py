"""Completion in real shells, against the real API."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.completion import SCRIPTS
from tests.integration.cli.conftest import PATIENCE, ROOT, Hotswap
from tests.integration.cli.test_against_the_api import published

# What a shell does at a Tab, without a terminal: it fills these variables and calls the function.
_BASH = """
source '{script}'
for line in "${{@}}"; do
    COMP_LINE=$line COMP_POINT=${{#line}}
    read -ra COMP_WORDS <<< "$line"
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    _hotswap_completion hotswap
    echo "$line: ${{COMPREPLY[*]}}"
done
"""
_FISH = """
source '{script}'
for line in $argv
    echo "$line: "(complete -C "$line" | string replace --regex '\\t.*' '' | string join ' ')
end
"""
_SHELLS = {"bash": ["bash", "--norc", "-c", _BASH, "bash"], "fish": ["fish", "--no-config", "-c", _FISH]}


@pytest.mark.parametrize("shell", [each for each in _SHELLS if each == "bash" or shutil.which(each)])
def test_a_shell_completes_what_the_server_knows(
    hotswap: Hotswap, tmp_path: Path, environment: dict[str, str], shell: str
) -> None:
    """zsh completes in its line editor only; there its script is tried by hand."""
    published(hotswap, tmp_path, f"tab-{shell}")
    assert hotswap("login").code == 0
    program = tmp_path / "bin" / "hotswap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m app.cli.main "$@"\n')
    program.chmod(0o755)
    given = {**environment, "HOTSWAP_USERNAME": "", "HOTSWAP_PASSWORD": ""}
    given["PATH"] = f"{program.parent}:{environment['PATH']}"
    wanted = {
        f"hotswap deploy tab-{shell[0]}": f"tab-{shell}",
        f"hotswap deploy tab-{shell} ": "1.0.0",
        f"hotswap deploy tab-{shell} 1.0.0 --to Pro": "Production",
        "hotswap completion ": "bash zsh fish",
    }
    command = [part.format(script=SCRIPTS / f"hotswap.{shell}") for part in _SHELLS[shell]]
    for _ in range(5):  # on a machine under load an answer may come later than a Tab waits
        done = subprocess.run([*command, *wanted], env=given, capture_output=True, text=True, timeout=PATIENCE)
        if done.stdout.splitlines() == [f"{line}: {words}" for line, words in wanted.items()]:
            break
    assert done.stdout.splitlines() == [f"{line}: {words}" for line, words in wanted.items()]
    assert done.stderr == ""
