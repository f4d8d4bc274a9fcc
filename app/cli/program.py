"""How a `hotswap` command line is run: common options, and every end as an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

# typer has its own copy of click, without public names for these.
from typer._click.exceptions import ClickException, NoArgsIsHelpError
from typer.core import TyperCommand

from app.cli.configuration import PEM_BEGINS
from app.cli.errors import CliError, ReaderGone, UsageProblem
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation, common_options
from app.cli.lazy import Command, Entry, Takes, application, built, lazy_group
from app.cli.output import Output

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
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not standalone: it would tell of wrong usage by itself, and never in JSON.
        ended = program(commands).main(args=given, prog_name=PROGRAM, obj=invocation, standalone_mode=False)
        return ended if isinstance(ended, int) else ExitCode.DONE
    except (ReaderGone, BrokenPipeError):
        # What Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PIPE_CLOSED
    except CliError as error:
        invocation.output_for_errors(given).error(error)
        return error.exit_code
    except ClickException as error:
        return _misused(error, invocation.output_for_errors(given))
    except typer.Abort:
        problem = UsageProblem("the input ended before there was an answer")
        invocation.output_for_errors(given).error(problem)
        return problem.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except Exception as error:
        if os.environ.get("HOTSWAP_DEBUG"):
            traceback.print_exc()
        hint = "please report it with what HOTSWAP_DEBUG=1 shows"
        fault = CliError(f"a fault of hotswap itself: {type(error).__name__}: {error}; {hint}")
        invocation.output_for_errors(given).error(fault)
        return fault.exit_code


def _misused(error: ClickException, output: Output) -> int:
    """Tell what is wrong with the command line: as text with the command's usage."""
    if PEM_BEGINS in error.format_message():
        # The message would repeat it, into a job's log.
        output.error(UsageProblem("a key stands among the arguments; it is not shown here, but arguments are public"))
    elif not output.json:
        error.show()
    elif isinstance(error, NoArgsIsHelpError):
        output.error(UsageProblem(f"a command is missing: {error.ctx.command_path} --help names them"))
    else:
        output.error(UsageProblem(error.format_message()))
    return ExitCode.USAGE


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
