"""What the supervisor runs, and when it starts something again that has died."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

Probe = Callable[[], Awaitable[str | None]]  # None when it is ready, else what it lacks, in a few words


class Phase(IntEnum):
    """Started in this order."""

    SERVERS = 1
    MIGRATION = 2
    ORCHESTRATOR = 3
    CHECKS = 4  # of what was asked for, once the orchestrator can tell
    AGENTS = 5
    TOOLS = 6


# Stopped in this order, what stands together at once. Whoever decides goes before whoever carries out: a worker must
# not take the end of an agent for a failure.
STOP_ORDER = ((Phase.TOOLS, Phase.ORCHESTRATOR), (Phase.AGENTS,), (Phase.MIGRATION, Phase.CHECKS), (Phase.SERVERS,))


@dataclass(frozen=True)
class Stop:
    """How a service ends: one signal, and after each span (seconds) a harsher one. The last is SIGKILL."""

    first: signal.Signals = signal.SIGTERM
    patience: float = 5.0
    second: signal.Signals = signal.SIGKILL
    more_patience: float = 1.0


@dataclass(frozen=True)
class Service:
    """One process of the stack, with its ordinary command line."""

    name: str
    phase: Phase
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # the whole of it; it may carry passwords
    folder: Path
    ready: Probe | None = None  # None: ready as soon as it runs; it shows in the stack's own readiness
    before: Callable[[], None] | None = None  # run before each start, e.g. to write a configuration file
    stop: Stop = Stop()
    after: Callable[[], Awaitable[None]] | None = None  # run when the stack stops, after it has ended or never begun
    once: bool = False  # it is meant to end with code 0, e.g. a migration


@dataclass
class Restarts:
    """When a service that died starts again: back-off doubles up to 2 s and is never given up.

    Times are seconds of a monotonic clock, passed in.
    """

    first: float = 0.1
    most: float = 2.0
    settled: float = 10.0  # it ran for so long: begin again with the first back-off
    loop_deaths: int = 5  # so many deaths ...
    loop_span: float = 30.0  # ... within so many seconds are a crash loop
    report_every: float = 60.0
    _deaths: list[float] = field(default_factory=list)
    _backoff: float = 0.0
    _reported: float | None = None

    def died(self, started: float, now: float) -> float:
        """Seconds to wait before the next start."""
        if now - started >= self.settled or not self._backoff:
            self._backoff = self.first
        else:
            self._backoff = min(self._backoff * 2, self.most)
        self._deaths = [*(each for each in self._deaths if now - each < self.loop_span), now]
        return self._backoff

    @property
    def looping(self) -> bool:
        """Whether its last deaths were a crash loop."""
        return len(self._deaths) >= self.loop_deaths

    def loops(self, now: float) -> bool:
        """Whether to report a crash loop now: at most once in `report_every`."""
        if not self.looping:
            return False
        if self._reported is not None and now - self._reported < self.report_every:
            return False
        self._reported = now
        return True
