"""Runs the `hotswap` command line and shows it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo.errors import DemoFailed
from examples.demo.narrator import Narrator

_QUIET_LIMIT = 120.0  # seconds for a command that only looks


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    lines: tuple[str, ...]
    exit_code: int


class Hotswap:
    """The command, with a configuration of its own, run in one folder."""

    def __init__(self, program: Path, folder: Path, environment: Mapping[str, str], narrator: Narrator) -> None:
        self._program = str(program)
        self._folder = folder
        self._environment = dict(environment)
        self._narrator = narrator

    def show(self, *arguments: str, telling: Sequence[str] = (), expected: int = 0, stdin: str = "") -> Said:
        """Run a command and show it, and of its output, as it comes, each line that contains one of `telling` once.

        Raises DemoFailed when it ends with another exit code than `expected`.
        """
        self._narrator.command(shlex.join(["hotswap", *arguments]))
        lines: list[str] = []
        with subprocess.Popen(
            [self._program, *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                if process.stdin is not None:
                    process.stdin.write(stdin)
                    process.stdin.close()
                for line in map(str.rstrip, process.stdout or ()):
                    if line not in lines and any(word in line for word in telling):
                        self._narrator.output(line)
                    lines.append(line)
            except BaseException:
                process.kill()
                raise
        return self._checked(arguments, Said(tuple(lines), process.returncode), expected)

    def ask(self, *arguments: str) -> Any:
        """The JSON that a command answers, without a word about it. Raises DemoFailed."""
        ended = subprocess.run(
            [self._program, *arguments, "--output", "json"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_QUIET_LIMIT,
        )
        self._checked(arguments, Said(tuple(ended.stderr.splitlines()), ended.returncode), 0)
        return json.loads(ended.stdout)

    @staticmethod
    def _checked(arguments: Sequence[str], said: Said, expected: int) -> Said:
        if said.exit_code != expected:
            end = "\n".join(f"     {line}" for line in said.lines[-12:])
            command = shlex.join(["hotswap", *arguments])
            raise DemoFailed(f"`{command}` ended with exit code {said.exit_code}, expected was {expected}:\n{end}")
        return said
