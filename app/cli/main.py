"""The `hotswap` command: only the composition. A command's module is imported when that command is asked for."""

from importlib import import_module

import typer
from typer.core import TyperGroup
from typer.main import get_command

# Command -> module whose `app` (typer) is that command, or a group of them. In the order of the help.
COMMANDS = {
    "up": "app.cli.up",
    "doctor": "app.cli.doctor",
}


class LazyGroup(TyperGroup):
    """Knows the names of all commands without importing them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name):  # type: ignore[no-untyped-def]
        """The command, imported now; None for an unknown one."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = get_command(import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def hotswap() -> None:
    """Take signed modules to a fleet of nodes, in waves, without a failed request."""


def main() -> None:
    """The console script."""
    app(prog_name="hotswap")
