"""One run of `hotswap`: its flags, and what is made of them when a command first needs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.configuration import Configuration, Flags, OutputFormat, configure
from app.cli.errors import CliError
from app.cli.output import Output

if TYPE_CHECKING:
    from app.cli.client import Client


@dataclass
class Invocation:
    """Travels as `obj` of the context. `connect` makes the client; tests give their own."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    flags: Flags = field(default_factory=Flags)
    connect: Callable[[Configuration], Client] | None = None

    @cached_property
    def configuration(self) -> Configuration:
        """Raises UsageProblem."""
        return configure(self.flags, self.environment)

    @cached_property
    def client(self) -> Client:
        """The client of the configured server; nothing is sent yet."""
        if self.connect is not None:
            return self.connect(self.configuration)
        # httpx takes a third of a second to import: not for --help, init and lint.
        from app.cli.authentication import credentials
        from app.cli.client import Client

        return Client(self.configuration, credentials(self.configuration))

    @cached_property
    def output(self) -> Output:
        """Raises UsageProblem."""
        colours = not self.environment.get("NO_COLOR") and self.environment.get("TERM") != "dumb"
        return Output(self.configuration.output, colours=colours)

    def choose(self, server: str) -> None:
        """Talk to this named server instead, whatever else was said."""
        self.flags = replace(self.flags, url=None, server=server)
        for made in ("configuration", "client"):
            self.__dict__.pop(made, None)

    def output_for_errors(self, arguments: Sequence[str] = ()) -> Output:
        """As `output`, also when the configuration or the command line itself is what is wrong.

        `arguments` are the command line's, where `--output` may not have been come to yet.
        """
        if "configuration" in self.__dict__:
            return self.output
        chosen = self.flags.output or asked_for(arguments)
        if chosen is None:
            try:
                return self.output
            except CliError:
                chosen = format_named(self.environment.get("HOTSWAP_OUTPUT"))
        return Output(chosen or OutputFormat.TEXT)


def asked_for(arguments: Sequence[str]) -> OutputFormat | None:
    """The format that the last `--output` of a command line names, however wrong the rest of it is."""
    found = None
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        if word in ("--output", "-o"):
            found = format_named(next(words, None))
        elif word.startswith("--output="):
            found = format_named(word.partition("=")[2])
        elif word.startswith("-o"):
            found = format_named(word[2:])
    return found


def format_named(word: str | None) -> OutputFormat | None:
    """None for what names none."""
    try:
        return OutputFormat(word.lower()) if word else None
    except ValueError:
        return None


def invocation(ctx: typer.Context) -> Invocation:
    """The invocation that a command runs in."""
    found = ctx.find_object(Invocation)
    if found is None:
        raise TypeError("this command must be run by app.cli.program")
    return found


def _take_url(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        found = invocation(ctx)
        found.flags = replace(found.flags, url=value)
    return value


def _take_server(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        found = invocation(ctx)
        found.flags = replace(found.flags, server=value)
    return value


def _take_output(ctx: typer.Context, value: OutputFormat | None) -> OutputFormat | None:
    if value is not None:
        found = invocation(ctx)
        found.flags = replace(found.flags, output=value)
    return value


def _server_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from app.cli import known_names

    return known_names.servers(ctx, incomplete)


def _flags(
    output: Annotated[
        OutputFormat | None,
        typer.Option(
            "--output", "-o", help="How to answer.", callback=_take_output, expose_value=False, case_sensitive=False
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="The server [env: HOTSWAP_URL].", callback=_take_url, expose_value=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="NAME",
            help="The server, by its name [env: HOTSWAP_SERVER].",
            callback=_take_server,
            expose_value=False,
            autocompletion=_server_names,
        ),
    ] = None,
) -> None:
    """Not a command: its options are those that every command has."""


def common_options() -> list[Any]:
    """New objects for `--output`, `--url` and `--server`, which every command takes, before or after its name."""
    from app.cli.lazy import built

    return list(built(_flags).params)
