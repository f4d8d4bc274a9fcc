"""`hotswap cluster show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.invocation import invocation
from app.cli.lazy import application
from app.cli.node import releases
from app.cli.output import Output, one_line, table

app = application(help="Clusters: the nodes of one environment.")


@app.callback()
def _group() -> None:
    """Clusters: the nodes of one environment."""


@app.command()
def show(
    ctx: typer.Context,
    environment: Annotated[
        str | None,
        typer.Argument(help="Without one: all, in a line each.", autocompletion=known_names.environments),
    ] = None,
) -> None:
    """The nodes of an environment, how they are, what they run."""
    run = invocation(ctx)
    if environment is None:
        clusters = run.client.get("/clusters")
        rows = [
            (
                each.get("environment"),
                f"{each.get('healthyNodes')}/{each.get('totalNodes')}",
                run.output.status("healthy" if each.get("isHealthy") else "unhealthy"),
            )
            for each in clusters
        ]
        run.output.result(clusters, table(("ENVIRONMENT", "NODES", "STATUS"), rows, run.output.width()))
        return
    cluster = run.client.get(f"/clusters/{quote(environment, safe='')}")
    run.output.result(cluster, _shown(cluster, run.output))


def _shown(cluster: dict[str, Any], output: Output) -> Iterator[str]:
    yield (
        f"{one_line(cluster.get('environment'))}: {cluster.get('healthyNodes')} of "
        f"{cluster.get('totalNodes')} nodes are healthy"
    )
    metrics = {name: value for name, value in (cluster.get("metrics") or {}).items() if value is not None}
    if metrics:
        yield ", ".join(f"{name} {_figure(value)}" for name, value in metrics.items())
    yield ""
    nodes = sorted(cluster.get("nodes") or (), key=lambda node: str(node.get("hostname")))
    rows = [
        (node.get("hostname"), output.status(node.get("status")), releases(node), _endpoints(node) or " ")
        for node in nodes
    ]
    yield from table(("NODE", "STATUS", "RUNS", "ENDPOINT"), rows, output.width())
    for route in cluster.get("routes") or ():
        weights = [f"{one_line(each.get('version'))} {each.get('percent')}%" for each in route.get("weights") or ()]
        yield f"route {one_line(route.get('moduleName'))}: {one_line(route.get('url'))} ({', '.join(weights)})"


def _endpoints(node: dict[str, Any]) -> str:
    return ", ".join(one_line(each["endpoint"]) for each in node.get("releases") or () if each.get("endpoint"))


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else one_line(value)
