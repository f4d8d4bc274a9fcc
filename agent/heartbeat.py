"""Heartbeats: tell the orchestrator what runs here, take what it says, and know whether it still answers."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import ssl
import time
from collections.abc import Callable, Sequence

import aiohttp

from agent.config import AgentLimits
from agent.engine import Engine
from agent.journal import Journal
from agent.metrics import Counters
from agent.module_names import MODULE_NAME
from agent.protocol import IDENTIFIER, MAX_TOKEN, Fields, ModuleKey
from agent.refusals import Refusal
from agent.tls import ORCHESTRATOR_NAME

log = logging.getLogger(__name__)

FIRST_INTERVAL = 2.0  # seconds, until the first answer says another one
LONGEST_INTERVAL = 60.0
RETRY = 0.1
TOGETHER = 0.25
DEFAULT_NODE_LOST_AFTER = 120.0
LARGEST_ANSWER = 1024**2
MOST_IDS = 10_000


class Heartbeat:
    """Sends on a timer and right after each change; an answer counts once it has been applied."""

    def __init__(
        self, session: aiohttp.ClientSession, context: ssl.SSLContext, urls: Sequence[str], limits: AgentLimits,
        journal: Journal, counters: Counters, body: Callable[[int], dict[str, object]],
    ) -> None:  # fmt: skip
        self._session = session
        self._context = context
        self._urls = tuple(urls)
        self._limits = limits
        self._journal = journal
        self._counters = counters
        self._body = body
        self._wake = asyncio.Event()
        self._interval = FIRST_INTERVAL
        self._lost_after = DEFAULT_NODE_LOST_AFTER
        self._answered_at: float | None = None

    def ready(self) -> bool:
        """Whether one was answered since the start and within half of `nodeLostAfter`."""
        return self._answered_at is not None and time.monotonic() - self._answered_at < self._lost_after / 2

    def nudge(self) -> None:
        """Send one now: something changed."""
        self._wake.set()

    async def run(self, engine: Engine) -> None:
        """Beat until cancelled."""
        turn, failures = 0, 0
        while True:
            self._wake.clear()
            try:
                await self._beat(self._urls[turn % len(self._urls)], engine)
                self._counters.heartbeat("answered")
                failures = 0
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, Refusal, sqlite3.Error) as error:
                turn, failures = turn + 1, failures + 1
                self._counters.heartbeat("failed")
                log.warning("heartbeat: %s: %s", type(error).__name__, error)
            try:
                # The first failure may be a kept connection that the other side had closed.
                async with asyncio.timeout(min(self._interval, RETRY) if failures == 1 else self._interval):
                    await self._wake.wait()
                    # One swap is several changes: they are told together.
                    await asyncio.sleep(min(self._interval, TOGETHER))
            except TimeoutError:
                continue

    async def _beat(self, url: str, engine: Engine) -> None:
        timeout = aiohttp.ClientTimeout(total=self._limits.request_timeout, connect=self._limits.connect_timeout)
        body = self._body(self._journal.next_sequence())
        async with self._session.post(
            f"{url}/agent/v1/heartbeat", json=body, ssl=self._context, server_hostname=ORCHESTRATOR_NAME,
            timeout=timeout, allow_redirects=False,
        ) as response:  # fmt: skip
            text = await response.content.read(LARGEST_ANSWER)
            if response.status != 200:
                raise ValueError(f"{url} answered {response.status}: {text[:200].decode('utf-8', 'replace')}")
            self._apply(Fields(json.loads(text), "the answer to the heartbeat"), engine)

    def _apply(self, answer: Fields, engine: Engine) -> None:
        """Void ids and token floors are on disk before the heartbeat counts as answered."""
        void, floors = answer.raw("void") or [], answer.raw("tokenFloors") or []
        if not isinstance(void, list) or not isinstance(floors, list) or len(void) + len(floors) > MOST_IDS:
            raise ValueError("void or tokenFloors of the heartbeat's answer is no list, or too long")
        engine.raise_floors([_floor(item) for item in floors])
        engine.void([item for item in void if isinstance(item, str) and IDENTIFIER.fullmatch(item)])
        self._interval = max(0.05, answer.seconds("interval", FIRST_INTERVAL, LONGEST_INTERVAL))
        self._lost_after = answer.seconds("nodeLostAfter", DEFAULT_NODE_LOST_AFTER, 86400.0)
        self._answered_at = time.monotonic()


def _floor(item: object) -> tuple[ModuleKey, int]:
    fields = Fields(item, "a token floor")
    key = ModuleKey(fields.text("tenant", IDENTIFIER), fields.text("module", MODULE_NAME))
    return key, fields.whole("fencingToken", 0, MAX_TOKEN)
