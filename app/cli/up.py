"""`hotswap up`: the whole stack on this machine."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

DEFAULT_PORT = 8000
DEFAULT_NODES = "development=3,qa=5,staging=10,production=20"


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder that holds everything. Default: var/local in the source folder.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the API on 127.0.0.1; 0 takes a free one.")
    ] = DEFAULT_PORT,
    nodes: Annotated[str, typer.Option(help="So many nodes in each environment.")] = DEFAULT_NODES,
    replace: Annotated[bool, typer.Option("--replace/--no-replace", help="Start again what dies.")] = True,
) -> None:
    """Run PostgreSQL, Valkey, the orchestrator and a fleet of agents here, in the foreground. Ctrl-C stops all.

    Servers that HOTSWAP_DATABASE_URL or HOTSWAP_BROKER_URL name are used instead of embedded ones.
    """
    from app.cli.server_part import server_part

    with server_part():
        from deploy.local.errors import StackError
        from deploy.local.fleet import parse_nodes
        from deploy.local.options import DEFAULT_DATA_FOLDER, Options
        from deploy.local.stack import up as run

    try:
        options = Options(data_dir or DEFAULT_DATA_FOLDER, port, tuple(parse_nodes(nodes)), replace)
    except StackError as error:
        typer.echo(f"hotswap: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(run(options))
