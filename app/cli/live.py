"""A watch on a terminal: one picture, redrawn only when something in it has changed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.deployment_events import DeploymentEvent
from app.cli.deployment_view import DeploymentView, NodeView, StageView, WaveView
from app.cli.durations import clock
from app.cli.output import Output, clean

_MOST_NODES = 5
_MOST_WAVES = 5
_STYLES = {
    "Succeeded": "green",
    "Failed": "red",
    "Lost": "red",
    "RolledBack": "red",
    "Rejected": "red",
    "Expired": "red",
    "Running": "cyan",
    "Dispatched": "cyan",
    "Resolving": "yellow",
    "RollingBack": "yellow",
    "Cancelling": "yellow",
    "Waiting": "yellow",
    "Paused": "yellow",
    "PendingApproval": "yellow",
}
_SIGNS = {
    "Succeeded": ("✓", "+"),
    "Failed": ("✗", "x"),
    "RolledBack": ("↩", "<"),
    "Running": ("●", "*"),
    "Waiting": ("…", "."),
    "Skipped": ("-", "-"),
    "Cancelled": ("-", "-"),
    "Pending": ("·", " "),
}


class LiveDisplay:
    """A reporter and a context manager; the last picture stays on the screen."""

    wants_nodes = True
    wants_events = False

    def __init__(
        self,
        output: Output,
        hint: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        console: Console | None = None,
    ) -> None:
        self._console = console or Console(file=output.out, highlight=False)
        self._hint, self._now = hint, now
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._view: DeploymentView | None = None
        self._nodes: Sequence[NodeView] = ()
        self._trouble: str | None = None
        self._drawn = ""
        self._watching = True

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching = False
        self.tick()
        self._live.stop()

    def event(self, event: DeploymentEvent) -> None:
        """Nothing: the state that follows shows it."""

    def state(self, view: DeploymentView, nodes: Sequence[NodeView]) -> None:
        self._view, self._nodes = view, nodes
        self.tick()

    def connection(self, trouble: str | None) -> None:
        self._trouble = trouble
        self.tick()

    def tick(self) -> None:
        """Draw, unless the picture would be the one that stands there."""
        if self._view is None:
            return
        picture = self._picture(self._view)
        probe = Console(file=io.StringIO(), width=self._console.width, force_terminal=True, color_system="standard")
        probe.print(picture)
        drawn = probe.file.getvalue() if isinstance(probe.file, io.StringIO) else ""
        if drawn != self._drawn:
            self._drawn = drawn
            self._live.update(picture, refresh=True)

    def _picture(self, view: DeploymentView) -> RenderableType:
        parts: list[RenderableType] = [self._head(view), Text()]
        stages = Table.grid(padding=(0, 2, 0, 0))
        stages.add_column(no_wrap=True)
        stages.add_column(no_wrap=True)
        stages.add_column(no_wrap=True, justify="right")
        stages.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        stages.expand = True
        for stage in view.stages:
            stages.add_row(*self._stage(stage))
        parts.append(stages)
        operations = list(self._operations(view))
        if operations:
            parts += [Text(), *operations]
        parts += self._foot(view)
        return Group(*parts)

    def _head(self, view: DeploymentView) -> Text:
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"{view.module} {view.version}", style="bold")
        head.append(f" to {view.environment}   ")
        head.append(_spaced(view.status), style=_STYLES.get(view.status, ""))
        seconds = view.seconds(self._now())
        head.append(f"   {clock(seconds if view.end else _whole(seconds))}", style="dim")
        return head

    def _stage(self, stage: StageView) -> tuple[Text, Text, Text, Text]:
        style = _STYLES.get(stage.status, "dim")
        name = Text(f"  {self._sign(stage.status)} {stage.name}", style="" if stage.status == "Running" else style)
        seconds = stage.seconds
        if seconds is None and stage.start is not None:
            seconds = _whole(((stage.end or self._now()) - stage.start).total_seconds())
        took = clock(seconds) if seconds is not None and stage.status != "Skipped" else ""
        note = Text()
        if stage.waves:
            note.append(self._counts(stage))
        if stage.message:
            note.append(f"{'; ' if note else ''}{' '.join(clean(stage.message).split())}", style="dim")
        return name, Text(_spaced(stage.status), style=style), Text(took, style="dim"), note

    def _counts(self, stage: StageView) -> str:
        total = sum(wave.nodes - wave.skipped for wave in stage.waves)
        text = f"{stage.deployed}/{total} nodes" if total else f"{stage.deployed} nodes"
        if stage.failed:
            text += f", {stage.failed} failed"
        if stage.skipped:
            text += f", {stage.skipped} skipped"
        return text

    def _operations(self, view: DeploymentView) -> Iterator[RenderableType]:
        """Waves with their counts, then the nodes that are at work or failed."""
        for stage in view.stages:
            yield from self._waves(stage.waves)
        latest = {node.name: node for node in self._nodes}
        shown = [node for node in latest.values() if node.in_flight or node.bad]
        for node in shown[:_MOST_NODES]:
            yield _operation(node)
        if len(shown) > _MOST_NODES:
            yield Text(f"    and {len(shown) - _MOST_NODES} more", style="dim")

    def _waves(self, waves: Sequence[WaveView]) -> Iterator[Text]:
        """Of many waves those around the one that is at work."""
        if len(waves) < 2:
            return
        current = next((at for at, wave in enumerate(waves) if wave.status in ("Running", "Pending")), len(waves) - 1)
        first = max(0, min(current - 1, len(waves) - _MOST_WAVES))
        for wave in waves[first : first + _MOST_WAVES]:
            total = wave.nodes - wave.skipped
            line = Text(f"    wave {wave.number} of {len(waves)}  ", style="" if wave.status == "Running" else "dim")
            line.append(self._bar(wave.deployed, wave.failed, total))
            line.append(f"  {wave.deployed}/{total}" + (f", {wave.failed} failed" if wave.failed else ""))
            if wave.status == "RolledBack":
                line.append(", went back", style="red")
            yield line

    def _bar(self, done: int, failed: int, total: int) -> Text:
        width = 20
        full, bad = (done * width // total, -(-failed * width // total)) if total else (0, 0)
        block, empty = ("█", "░") if self._unicode else ("#", ".")
        bar = Text()
        bar.append(block * full, style="green")
        bar.append(block * min(bad, width - full), style="red")
        return bar.append(empty * (width - len(bar)), style="dim")

    def _foot(self, view: DeploymentView) -> list[RenderableType]:
        parts: list[RenderableType] = []
        for waiting in view.waiting:
            parts.append(Text(f"  {waiting}", style="yellow", overflow="fold"))
        if self._trouble:
            short = self._trouble.partition(";")[0]
            parts.append(Text(f"  {short}; trying again", style="yellow", overflow="fold"))
        if self._watching and not view.terminal:
            parts.append(Text(f"  {self._hint}", style="dim", no_wrap=True, overflow="ellipsis"))
        return [Text(), *parts] if parts else []

    def _sign(self, status: str) -> str:
        pair = _SIGNS.get(status, ("·", " "))
        return pair[0] if self._unicode else pair[1]

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.lower().startswith("utf")


def _operation(node: NodeView) -> Text:
    line = Text("    ", no_wrap=True, overflow="ellipsis")
    line.append(f"{node.name}  ")
    doing = "going back" if node.back and node.in_flight else _spaced(node.status).lower()
    line.append(doing, style=_STYLES.get(node.status, ""))
    if node.to_version and node.in_flight:
        line.append(f" {node.from_version or 'nothing'} -> {node.to_version}", style="dim")
    if node.error:
        line.append(f"  {' '.join(clean(node.error).split())}", style="red" if node.bad else "dim")
    return line


def _whole(seconds: float) -> float:
    """Running clocks tick in whole seconds, so that nothing is redrawn more often."""
    return float(int(seconds)) if seconds >= 10 else round(seconds * 2) / 2


def _spaced(status: str) -> str:
    """`RollingBack` -> `Rolling back`."""
    return status[:1] + "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in status[1:])
