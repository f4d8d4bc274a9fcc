"""`hotswap completion`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer re-exports it so

from app.cli.program import COMPLETE_VARIABLE, PROGRAM


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument()]) -> None:
    """Print what lets a shell complete commands and options.

    bash: add `eval "$(hotswap completion bash)"` to ~/.bashrc.
    zsh: the same with zsh to ~/.zshrc, after compinit.
    fish: hotswap completion fish > ~/.config/fish/completions/hotswap.fish
    """
    print(get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell.value))
