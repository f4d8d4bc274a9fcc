"""How a watch is told where nothing can be redrawn: plain lines, or JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.cli.deployment_events import INTERNAL, DeploymentEvent, told
from app.cli.deployment_view import DeploymentView, NodeView
from app.cli.durations import clock
from app.cli.output import Output

_TAIL_LINES = 15


class PlainLines:
    """A line for each event; with `every` False only what concerns the deployment, its stages, and failures."""

    wants_nodes = False
    wants_events = True

    def __init__(self, output: Output, *, every: bool) -> None:
        self._output, self._every = output, every

    def event(self, event: DeploymentEvent) -> None:
        if (self._every or event.about_the_whole or event.failure) and event.kind not in INTERNAL:
            self._output.line(told(event))

    def state(self, view: DeploymentView, nodes: Sequence[NodeView]) -> None:
        """Nothing: the events tell it."""

    def connection(self, trouble: str | None) -> None:
        self._output.say(f"hotswap: {trouble}; trying again" if trouble else "hotswap: connected again")

    def tick(self) -> None:
        """Nothing moves in a pipe."""


class JsonLines:
    """Each event on a line, as the API has it."""

    wants_nodes = False

    def __init__(self, output: Output, *, events: bool) -> None:
        self._output, self.wants_events = output, events

    def event(self, event: DeploymentEvent) -> None:
        if self.wants_events:
            self._output.json_line(dict(event.raw))

    def state(self, view: DeploymentView, nodes: Sequence[NodeView]) -> None:
        """Nothing: the last line, written at the end, is the deployment's state."""

    def connection(self, trouble: str | None) -> None:
        """Nothing: the next event tells."""

    def tick(self) -> None:
        """Nothing."""


def verdict(output: Output, view: DeploymentView, seconds: float) -> str:
    """`payment-processor 1.1.0 in QA: Succeeded after 12s`."""
    what = f"{view.module} {view.version} in {view.environment}"
    text = f"{what}: {output.status(view.status)}"
    if view.terminal:
        text += f" after {clock(seconds)}"
    return f"{text}: {view.reason}" if view.reason else text


def failures(view: DeploymentView, nodes: Sequence[NodeView], most: int = 3) -> Iterator[str]:
    """Why it failed: stages and nodes, with the end of what was said there."""
    for stage in view.stages:
        if stage.status == "Failed":
            yield f"  {stage.name} failed: {stage.message or 'no reason was given'}"
            yield from tail(stage.output_tail, "    ")
    bad = [node for node in nodes if node.bad]
    for node in bad[:most]:
        yield f"  {node.name} {node.status.lower()}: {node.error or 'no reason was given'}"
        yield from tail(node.output_tail, "    ")
    if len(bad) > most:
        yield f"  and {len(bad) - most} more: hotswap deployment show {view.id} --nodes"


def tail(text: str | None, indent: str, most: int = _TAIL_LINES) -> Iterator[str]:
    """The last lines of an output."""
    for line in (text or "").rstrip().splitlines()[-most:]:
        yield f"{indent}| {line}"
