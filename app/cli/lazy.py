"""Commands that are imported when they are used, so that `hotswap --help` is quick.

A group is given names, one line of help for each, and where the command is; it imports a command's module only when
that command is run or completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

Command = TyperCommand | TyperGroup


class Takes(Enum):
    """Which of the common options a command has. (Sets: in early 3.11 an empty tuple is no value of an Enum.)"""

    SERVER = frozenset({"--output", "--url", "--server"})
    OUTPUT = frozenset({"--output"})
    NOTHING = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Entry:
    """`target` is `module:attribute`: a typer application, or a function that becomes one command."""

    name: str
    target: str
    help: str
    takes: Takes = Takes.SERVER


def application(**settings: Any) -> typer.Typer:
    """A typer application in our style: plain help, no tracebacks of its own, no completion options of its own."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def built(target: Callable[..., Any] | typer.Typer) -> Command:
    """The command of a typer application or a function."""
    if isinstance(target, typer.Typer):
        command = get_command(target)
    else:
        single = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        single.command(context_settings={"help_option_names": ["-h", "--help"]})(target)
        command = get_command(single)
    if not isinstance(command, TyperCommand | TyperGroup):
        raise TypeError(f"{target!r} is no typer command")
    command.rich_markup_mode = None  # importing rich for a help text takes longer than all else
    return command


class LazyCommands(MutableMapping[str, Command]):
    """Name -> command. `prepare` is told each one when it has been loaded."""

    def __init__(self, entries: tuple[Entry, ...], prepare: Callable[[Command, Takes], None]) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self._prepare = prepare
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._loaded:
            module, _, attribute = self.entries[name].target.partition(":")
            command = built(getattr(import_module(module), attribute))
            command.name = name
            self._prepare(command, self.entries[name].takes)
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def lazy_group(entries: tuple[Entry, ...], prepare: Callable[[Command, Takes], None]) -> type[TyperGroup]:
    """A class of group with these commands, for `typer.Typer(cls=...)`."""
    lazy = LazyCommands(entries, prepare)

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**{**settings, "commands": {}})
            self.commands: MutableMapping[str, Any] = lazy

        def list_commands(self, ctx: Any) -> list[str]:
            return list(lazy.entries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(entry.name, entry.help) for entry in lazy.entries.values()])

    return LazyGroup
