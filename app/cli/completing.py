"""What could follow on a command line: asked by the scripts in `shell/`, in a process of its own for each Tab.

The question comes in the environment: COMPLETE_VARIABLE is `lines`, LINE_VARIABLE the command line up to the cursor.
The answer is a candidate a line, with its explanation after a tab. The scripts do not evaluate it, and what comes from
a server is checked by `known_names.py`, so that no name can become a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# typer has its own copy of click, without a public name for this.
from typer._click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from app.cli.invocation import Invocation
from app.cli.lazy import Command

LINE_VARIABLE = "_HOTSWAP_LINE"
LINES = "lines"
_LONGEST_HELP = 70


class Candidates(ShellComplete):
    """Of a command line with its program's name."""

    name = LINES

    def __init__(self, program: Command, invocation: Invocation, line: str) -> None:
        super().__init__(program, {"obj": invocation}, "hotswap", "")
        self._line = line

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words, and the one that is being typed."""
        words = split_arg_string(self._line)[1:]
        if not words or self._line[-1].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        text = " ".join((item.help or "").split())
        if len(text) > _LONGEST_HELP:
            text = text[: _LONGEST_HELP - 1] + "…"
        return f"{item.value}\t{text}" if text else str(item.value)

    def source_vars(self) -> dict[str, Any]:
        return {}


def candidates(program: Command, invocation: Invocation, environment: Mapping[str, str]) -> Iterator[str]:
    """The lines of the answer."""
    completing = Candidates(program, invocation, environment.get(LINE_VARIABLE, ""))
    given = completing.get_completions(*completing.get_completion_args())
    return (completing.format_completion(item) for item in given)
