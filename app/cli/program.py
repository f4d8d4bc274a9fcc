"""The `hotswap` command put together. `run` is what the console script and `python -m` call."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.core import TyperCommand

from app.cli.errors import CliError
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation, common_options
from app.cli.lazy import Command, Entry, application, lazy_group

COMMANDS = (
    Entry("init", "app.cli.init:init", "A module to start from, in a new folder."),
    Entry("lint", "app.cli.lint:lint", "Check a module's hotswap.yaml, without a server."),
    Entry("login", "app.cli.login:login", "Log in, and stay logged in."),
    Entry("logout", "app.cli.login:logout", "Forget the login, here and on the server."),
    Entry("whoami", "app.cli.login:whoami", "As whom the server knows you."),
    Entry("keys", "app.cli.keys:app", "Publishers' keys: generate, trust, list."),
    Entry("release", "app.cli.release:app", "Releases of a module: publish, list."),
    Entry("deploy", "app.cli.deploy:deploy", "Bring a release to an environment."),
    Entry("rollback", "app.cli.deploy:rollback", "Bring back what ran before."),
    Entry("status", "app.cli.status:status", "What runs where."),
    Entry("deployment", "app.cli.deployment:app", "Deployments: list, show, watch, cancel, pause, ..."),
    Entry("node", "app.cli.node:app", "Nodes: list, show, log, drain, undrain, remove."),
    Entry("cluster", "app.cli.cluster:app", "The nodes of one environment and what they run."),
    Entry("environment", "app.cli.environment:app", "Environments and their policies: show, edit, apply."),
    Entry("completion", "app.cli.completion:completion", "Shell completion for bash, zsh or fish."),
)


def prepare(command: Command) -> None:
    """Give a command, and those below it, the options that all have. `init` and the like ignore them."""
    if isinstance(command, TyperCommand):
        command.params.extend(common_options())
        return
    for below in command.commands.values():
        if isinstance(below, Command):
            prepare(below)


def program(commands: tuple[Entry, ...] = COMMANDS) -> typer.Typer:
    """The whole command line over these commands."""
    app = application(cls=lazy_group(commands, prepare), name="hotswap")
    app.callback()(_root)
    return app


def run(commands: tuple[Entry, ...] = COMMANDS, arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's) and return its exit code. Nothing escapes as a traceback."""
    invocation = Invocation()
    try:
        program(commands)(args=arguments, prog_name="hotswap", obj=invocation)
    except CliError as error:
        invocation.output_for_errors().error(error)
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.DETACHED
    except BrokenPipeError:
        # What Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PIPE_CLOSED
    except Exception as error:
        if os.environ.get("HOTSWAP_DEBUG"):
            traceback.print_exc()
        hint = "please report it with what HOTSWAP_DEBUG=1 shows"
        print(f"hotswap: a fault of hotswap itself: {type(error).__name__}: {error}; {hint}", file=sys.stderr)
        return ExitCode.DEFECT
    return ExitCode.DONE


def _root() -> None:
    """Takes signed modules to a fleet of nodes, in waves, without a failed request.

    Exit codes: 0 done, 1 the deployment did not succeed, 2 wrong usage, 3 cannot reach or log in, 4 not permitted,
    5 refused by the server, 6 still running at --timeout, 7 waits for a person.
    """
