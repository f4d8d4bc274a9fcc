"""`hotswap node ...`: the hosts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names, known_words, lookup
from app.cli.errors import UsageProblem
from app.cli.invocation import invocation
from app.cli.lazy import application
from app.cli.logs import show_log
from app.cli.output import Output, fields, one_line, table, when

app = application(help="Nodes: the hosts that run an agent.")
Name = Annotated[
    str, typer.Argument(metavar="NODE", help="Its host name or id.", autocompletion=known_names.nodes)
]


@app.command("list")
def list_nodes(
    ctx: typer.Context,
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", "-e", help="Only there.", autocompletion=known_names.environments),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only Healthy, Unavailable or Drained.", autocompletion=known_words.node_statuses),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this label.")] = None,
) -> None:
    """Nodes and how they are. What they run: `hotswap cluster show`. Of several labels a node has them all."""
    run = invocation(ctx)
    nodes = list(run.client.pages("/nodes", {"environment": environment, "status": status, "label": label}))
    nodes.sort(key=lambda node: (str(node.get("environment")), str(node.get("hostname"))))
    rows = [
        (
            node.get("hostname"),
            node.get("environment"),
            run.output.status(node.get("status")),
            when(node.get("lastHeartbeat")),
            _labels(node) or " ",
        )
        for node in nodes
    ]
    head = ("NODE", "ENVIRONMENT", "STATUS", "HEARD FROM", "LABELS")
    run.output.result(nodes, table(head, rows, run.output.width()))


@app.command()
def show(ctx: typer.Context, node: Name) -> None:
    """One node: labels, releases with their endpoints, what stands by."""
    run = invocation(ctx)
    found = run.client.get(_path(lookup.node(run.client, node)))
    run.output.result(found, _shown(found, run.output))


@app.command()
def log(
    ctx: typer.Context,
    node: Name,
    module: Annotated[
        str | None,
        typer.Argument(help="May be left out where the node runs only one.", autocompletion=known_names.modules),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what it writes from now on.")] = False,
) -> None:
    """What a module wrote on a node, the newest part.

    On both sides, so also what a release wrote that failed or ran before; with --follow only the one that is active.
    """
    run = invocation(ctx)
    where = _path(lookup.node(run.client, node))
    path = f"{where}/modules/{quote(module or _only_module(run.client.get(where)), safe='')}/log"
    show_log(run, path, follow=follow)


@app.command()
def drain(ctx: typer.Context, node: Name) -> None:
    """Send it no more deployments; what runs there goes on running."""
    _steer(ctx, node, "drain")


@app.command()
def undrain(ctx: typer.Context, node: Name) -> None:
    """Let deployments reach it again; it is brought up to date."""
    _steer(ctx, node, "undrain")


@app.command()
def remove(
    ctx: typer.Context,
    node: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a node. Its agent is not stopped."""
    run = invocation(ctx)
    found = lookup.node(run.client, node)
    name = one_line(found.get("hostname"))
    if not yes:
        _confirm(f"Remove {name} from {one_line(found.get('environment'))}?")
    run.client.request("DELETE", _path(found), repeatable=False)
    run.output.result({"nodeId": found["nodeId"], "removed": True}, [f"Node {name} is removed."])


def releases(node: dict[str, Any]) -> str:
    """`payment-processor 1.1.0, site 2.0.0 (crashLoop)`."""
    return ", ".join(_named(each) for each in node.get("releases") or ())


def _named(release: dict[str, Any]) -> str:
    """One that is as it should be needs no word for it."""
    text = f"{one_line(release.get('moduleName'))} {one_line(release.get('version'))}"
    status = release.get("status")
    return text if status in (None, "running", "installed") else f"{text} ({one_line(status)})"


def _path(node: dict[str, Any]) -> str:
    return f"/nodes/{quote(str(node['nodeId']), safe='')}"


def _labels(node: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in (node.get("labels") or {}).items())


def _steer(ctx: typer.Context, node: str, action: str) -> None:
    run = invocation(ctx)
    found = lookup.node(run.client, node)
    answer = run.client.post(f"{_path(found)}/{action}")
    done = {"drain": "is drained", "undrain": "takes deployments again"}[action]
    run.output.result(answer, [f"Node {one_line(found.get('hostname'))} {done}."])


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageProblem("nobody here to confirm it: give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageProblem("not removed")


def _only_module(node: dict[str, Any]) -> str:
    names = [str(each.get("moduleName")) for each in node.get("releases") or ()]
    if len(names) == 1:
        return names[0]
    runs = f"it runs {', '.join(names)}" if names else "it runs none"
    raise UsageProblem(f"which module of {one_line(node.get('hostname'))}? {runs}")


def _shown(node: dict[str, Any], output: Output) -> Iterator[str]:
    pairs = [
        ("node", node.get("hostname")),
        ("id", node.get("nodeId")),
        ("environment", node.get("environment")),
        ("status", output.status(node.get("status"))),
        ("heard from", when(node.get("lastHeartbeat"))),
        ("agent", node.get("agentVersion")),
        ("address", node.get("address")),
        ("labels", _labels(node) or None),
    ]
    yield from fields(pairs)
    for title, key in (("RUNS", "releases"), ("STANDS BY", "standby")):
        rows = [_release(each, output) for each in node.get(key) or ()]
        if rows:
            yield ""
            yield from table((title, "VERSION", "STATUS", "ENDPOINT"), rows, output.width())


def _release(release: dict[str, Any], output: Output) -> tuple[object, ...]:
    status = output.status(release.get("status"))
    return release.get("moduleName"), release.get("version"), status, release.get("endpoint") or " "
