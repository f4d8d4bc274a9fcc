"""Asks the modules' own `metrics` paths, seldom, and keeps what changed between two looks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from agent.exposition import Rates, Totals, rates, totals
from agent.httpget import NoAnswer, Reply, get
from agent.protocol import ModuleKey
from agent.supervisor import Supervisor, Watch

INTERVAL = 5.0  # seconds between two looks at a module
TICK = 1.0  # the second look is this soon, so that a fresh release soon has rates
TIMEOUT = 2.0


@dataclass(slots=True)
class _Look:
    digest: str
    totals: Totals
    rates: Rates | None = None


class ModuleMetrics:
    """Rates of the active modules that have metrics."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._looks: dict[ModuleKey, _Look] = {}
        self._changed = asyncio.Event()

    def look_around(self) -> None:
        """Supervision has seen a change: a module with metrics may run now."""
        self._changed.set()

    def rates(self, key: ModuleKey) -> Rates | None:
        """Between the last two looks; None without any."""
        look = self._looks.get(key)
        return look.rates if look is not None else None

    def totals(self, key: ModuleKey, digest: str) -> Totals | None:
        """What the process of this release has counted since its start, as of the last look at it."""
        look = self._looks.get(key)
        return look.totals if look is not None and look.digest == digest else None

    async def run(self) -> None:
        """Look again and again while there is anything to look at, until cancelled."""
        while True:
            watches = list(self._supervisor.all_watches())
            for watch in watches:
                if self._due(watch):
                    await self._look(watch)
            if any(watch.program.manifest.metrics is not None for watch in watches):
                await asyncio.sleep(TICK)
            else:  # nothing was awaited since the watches were listed
                self._changed.clear()
                await self._changed.wait()

    def _due(self, watch: Watch) -> bool:
        look = self._looks.get(watch.record.key)
        if look is None or look.rates is None or look.digest != watch.record.release.digest:
            return True
        return time.monotonic() - look.totals.at >= INTERVAL

    async def _look(self, watch: Watch) -> None:
        reply = await scrape(watch)
        found = totals(reply.body.decode("utf-8", "replace"), time.monotonic()) if reply is not None else None
        if found is None:
            self._looks.pop(watch.record.key, None)
            return
        digest, before = watch.record.release.digest, self._looks.get(watch.record.key)
        fresh = _Look(digest, found)
        if before is not None and before.digest == digest:
            fresh.rates = rates(before.totals, found)
        self._looks[watch.record.key] = fresh


async def scrape(watch: Watch) -> Reply | None:
    """What a module's metrics path answers with 200; None where it has none or says something else."""
    metrics = watch.program.manifest.metrics
    if metrics is None or not watch.endpoints or watch.process is None:
        return None
    try:
        reply = await get(watch.endpoints[0].connect_to, metrics.path, TIMEOUT)
    except NoAnswer:
        return None
    return reply if reply.status == 200 else None
