"""`hotswap completion`: the script that lets a shell ask us, printed or put where the shell finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.errors import UsageProblem
from app.cli.invocation import invocation

SCRIPTS = Path(__file__).with_name("shell")
MARK = "# hotswap completion"  # at the end of the line in a shell's own file, by which it is found again


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a script goes, and the line that a shell's start-up file needs for it; fish needs none."""

    script: Path
    start_up: Path | None = None
    line: str = ""


def completion(
    ctx: typer.Context,
    shell: Annotated[Shell | None, typer.Argument(help="Without one: that of SHELL.")] = None,
    install: Annotated[bool, typer.Option("--install", help="Put it where new shells of yours find it.")] = False,
) -> None:
    """Let a shell complete commands, options, and what the server knows: modules, versions, environments, nodes, ids.

    --install writes the script below your home and a line into ~/.bashrc or ~/.zshrc (fish needs none). Without it the
    script is printed: eval "$(hotswap completion bash)".
    """
    run = invocation(ctx)
    chosen = shell or _own_shell(run.environment)
    script = (SCRIPTS / f"hotswap.{chosen.value}").read_text(encoding="utf-8")
    if not install:
        run.output.result({"shell": chosen.value, "script": script}, script.splitlines())
        return
    place = place_of(chosen, run.environment)
    try:
        place.script.parent.mkdir(parents=True, exist_ok=True)
        place.script.write_text(script, encoding="utf-8")
        changed = place.start_up is not None and _with_line(place.start_up, place.line)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"cannot install it: {error}") from None
    start_up = str(place.start_up) if changed else None
    value = {"shell": chosen.value, "script": str(place.script), "startUpFile": start_up}
    told = f" and a line in {start_up}" if start_up else ""
    run.output.result(value, [f"Installed for {chosen.value}: {place.script}{told}. New shells complete hotswap."])


def place_of(shell: Shell, environment: Mapping[str, str]) -> Place:
    """Below the user's home, where XDG and the shells' own variables say."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - which knows the user's database, too
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "hotswap"
    if shell is Shell.FISH:
        configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        return Place(configuration / "fish" / "completions" / "hotswap.fish")
    script = data / f"completion.{shell.value}"
    quoted = "'" + str(script).replace("'", "'\\''") + "'"
    source = f"[ -r {quoted} ] && . {quoted}  {MARK}"
    if shell is Shell.BASH:
        return Place(script, home / ".bashrc", source)
    start = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }; "
    return Place(script, Path(environment.get("ZDOTDIR") or home) / ".zshrc", start + source)


def _own_shell(environment: Mapping[str, str]) -> Shell:
    name = environment.get("SHELL", "").rpartition("/")[2]
    try:
        return Shell(name)
    except ValueError:
        raise UsageProblem(f"no completion for the shell {name or 'that you use'}: name bash, zsh or fish") from None


def _with_line(file: Path, line: str) -> bool:
    """Put the line at the file's end, in place of an older one of ours. Whether that changed the file."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    kept = [each for each in text.splitlines() if not each.endswith(MARK)]
    if line in text.splitlines() and len(kept) == len(text.splitlines()) - 1:
        return False
    file.write_text("\n".join([*kept, line]) + "\n", encoding="utf-8")
    return True
