"""How a `hotswap` command line is run: common options, and every end as an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from typer.core import TyperCommand

from app.cli.errors import CliError, ReaderGone
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation, common_options
from app.cli.lazy import Command, Entry, Takes, application, built, lazy_group

PROGRAM = "hotswap"
COMPLETE_VARIABLE = "_HOTSWAP_COMPLETE"  # set by the shell's script while it asks what could follow


def prepare(command: Command, takes: Takes) -> None:
    """Give a command, and those below it, the common options that it takes."""
    if isinstance(command, TyperCommand):
        command.params.extend(option for option in common_options() if option.opts[0] in takes.value)
        return
    for below in command.commands.values():
        if isinstance(below, Command):
            prepare(below, takes)


def program(commands: tuple[Entry, ...]) -> Command:
    """The whole command line over these commands."""
    app = application(cls=lazy_group(commands, prepare), name=PROGRAM)
    app.callback()(_root)
    command = built(app)
    command.params.extend(common_options())
    return command


def run(
    commands: tuple[Entry, ...], arguments: Sequence[str] | None = None, invocation: Invocation | None = None
) -> int:
    """Run a command line (default: the process's) and return its exit code. Nothing escapes as a traceback."""
    invocation = invocation or Invocation()
    if COMPLETE_VARIABLE in invocation.environment:
        return _complete(commands, invocation)
    try:
        program(commands).main(args=arguments, prog_name=PROGRAM, obj=invocation)
    except (ReaderGone, BrokenPipeError):
        # What Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PIPE_CLOSED
    except CliError as error:
        invocation.output_for_errors().error(error)
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except Exception as error:
        if os.environ.get("HOTSWAP_DEBUG"):
            traceback.print_exc()
        hint = "please report it with what HOTSWAP_DEBUG=1 shows"
        print(f"hotswap: a fault of hotswap itself: {type(error).__name__}: {error}; {hint}", file=sys.stderr)
        return ExitCode.DEFECT
    return ExitCode.DONE


def _complete(commands: tuple[Entry, ...], invocation: Invocation) -> int:
    """Answer a shell that asks what could follow. Whatever is wrong, it gets no answer and the user no noise."""
    from app.cli.completing import candidates

    try:
        for line in candidates(program(commands), invocation, invocation.environment):
            print(line)
    except (Exception, SystemExit):
        if os.environ.get("HOTSWAP_DEBUG"):
            traceback.print_exc()
        return ExitCode.DEFECT
    return ExitCode.DONE


def _root() -> None:
    """Takes signed modules to a fleet of nodes, in waves, without a failed request.

    Exit codes: 0 done, 1 the deployment did not succeed, 2 wrong usage, 3 cannot reach or log in, 4 not permitted,
    5 refused by the server, 6 still running at --timeout, 7 waits for a person.
    """
