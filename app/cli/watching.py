"""Watching a deployment until it ends, somebody is waited for, or time is up.

Two sources: events (a thread, see event_feed.py) say that something changed; `GET /deployments/{id}` says what is true.
The second is asked after events, a few times a second at most and the less often the longer its answers take, and now
and then without any event, so that a watch ends rightly even when none arrives. A server that is away for less than
PATIENCE is waited for.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from app.cli.client import Client
from app.cli.deployment_events import DeploymentEvent
from app.cli.deployment_view import DeploymentView, NodeView, deployment_view, node_view
from app.cli.errors import NotLoggedIn, Unreachable
from app.cli.event_feed import Connected, Disconnected, Ended, EventFeed, News
from app.cli.exit_codes import ExitCode

PATIENCE = 300.0  # seconds
_TICK = 0.5
_LOOK_AFTER_EVENT = 0.2  # at most so often
_LOOK_WITH_STREAM = 10.0
_LOOK_WITHOUT = 2.0
_BREATH = 3.0  # times as long as a look took, before the next
_LAST_EVENTS = 3.0  # after the end is known


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """`timeout` is in seconds; `until_a_person`: end when the deployment waits for one; `after`: an event's number."""

    timeout: float | None = None
    until_a_person: bool = False
    after: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """How a watch ended, and the last that was seen."""

    view: DeploymentView
    exit_code: ExitCode


class Reporter(Protocol):
    """Shows a watch to somebody. `wants_nodes`, `wants_events`: what it has a use for."""

    wants_nodes: bool
    wants_events: bool

    def event(self, event: DeploymentEvent) -> None: ...
    def state(self, view: DeploymentView, nodes: Sequence[NodeView]) -> None: ...
    def connection(self, trouble: str | None) -> None: ...
    def tick(self) -> None: ...


def nodes_of(client: Client, deployment_id: str) -> list[NodeView]:
    """Every node operation of a deployment, in the order in which they were made (lists are newest first)."""
    path = f"/deployments/{quote(deployment_id, safe='')}/nodes"
    return [node_view(raw) for raw in client.pages(path)][::-1]


def look(client: Client, deployment_id: str) -> DeploymentView:
    """The deployment as it is now."""
    return deployment_view(client.get(f"/deployments/{quote(deployment_id, safe='')}"))


def watch(
    client: Client,
    deployment_id: str,
    reporter: Reporter,
    limits: WatchLimits,
    monotonic: Callable[[], float] = time.monotonic,
) -> Watched:
    """Watch until one of `limits` or the end. Raises CliError (also Unreachable after PATIENCE), KeyboardInterrupt."""
    return _Watch(client, deployment_id, reporter, limits, monotonic).run()


@dataclass
class _Watch:
    client: Client
    deployment_id: str
    reporter: Reporter
    limits: WatchLimits
    monotonic: Callable[[], float]
    news: queue.SimpleQueue[News] = field(default_factory=queue.SimpleQueue)
    streaming: bool = False
    dirty: bool = False
    last_kind: str = ""
    looked_at: float = 0.0
    breath: float = 0.0
    away_since: float | None = None

    def run(self) -> Watched:
        started = self.monotonic()
        view = look(self.client, self.deployment_id)  # what is wrong from the start is told at once
        self._show(view)
        feed = EventFeed(self.client, self.deployment_id, self.limits.after, self.news.put)
        feed.start()
        try:
            while True:
                if view.terminal:
                    return self._ended(view)
                timed_out = self.limits.timeout is not None and self.monotonic() - started >= self.limits.timeout
                if view.waits_for_a_person and (timed_out or self.limits.until_a_person):
                    return Watched(view, ExitCode.WAITING_FOR_A_PERSON)
                if timed_out:
                    return Watched(view, ExitCode.STILL_RUNNING)
                self._take(_TICK)
                view = self._look_if_due(view)
                self.reporter.tick()
        finally:
            feed.stop()

    def _take(self, wait: float) -> None:
        """Everything that has arrived, waiting a moment for the first."""
        try:
            self._one(self.news.get(timeout=wait))
            while True:
                self._one(self.news.get_nowait())
        except queue.Empty:
            return

    def _one(self, news: News) -> None:
        match news:
            case DeploymentEvent():
                self.dirty = True
                self.last_kind = news.kind
                self.reporter.event(news)
            case Connected():
                self.streaming = True
            case Disconnected():
                self.streaming = False
            case Ended(error):
                self.streaming = False
                if isinstance(error, NotLoggedIn):
                    raise error

    def _look_if_due(self, view: DeploymentView) -> DeploymentView:
        now = self.monotonic()
        usual = _LOOK_WITH_STREAM if self.streaming else _LOOK_WITHOUT
        if now - self.looked_at < max(_LOOK_AFTER_EVENT if self.dirty else usual, self.breath):
            return view
        self.dirty = False
        try:
            view = look(self.client, self.deployment_id)
            self._show(view)
        except NotLoggedIn:
            raise
        except Unreachable as error:
            self._away(now, error)
            return view
        finally:
            self.looked_at = self.monotonic()
            self.breath = (self.looked_at - now) * _BREATH
        if self.away_since is not None:
            self.away_since = None
            self.reporter.connection(None)
        return view

    def _away(self, now: float, error: Unreachable) -> None:
        if self.away_since is None:
            self.away_since = now
            self.reporter.connection(str(error))
        elif now - self.away_since > PATIENCE:
            raise error

    def _show(self, view: DeploymentView) -> None:
        nodes = nodes_of(self.client, self.deployment_id) if self.reporter.wants_nodes else []
        self.reporter.state(view, nodes)

    def _ended(self, view: DeploymentView) -> Watched:
        """Let the last events arrive, for who tells them."""
        last = "deployment." + view.status[:1].lower() + view.status[1:]
        deadline = self.monotonic() + _LAST_EVENTS
        while self.reporter.wants_events and self.last_kind != last and self.monotonic() < deadline:
            self._take(0.1)
        return Watched(view, view.exit_code)
