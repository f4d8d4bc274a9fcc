"""One orchestrator and one agent for a test, and that nothing of them is left afterwards."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from agent.certificates import make_ca
from agent.signatures import PrivateKey, generate, public_pem
from tests.integration.agent.node import Node
from tests.integration.agent.orchestrator import Orchestrator

P = ParamSpec("P")
CA = make_ca("HotSwap test CA")
KEY = generate()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a test works with."""

    orchestrator: Orchestrator
    node: Node
    key: PrivateKey


@asynccontextmanager
async def bench(folder: Path, more: str = "", *, start: bool = True) -> AsyncIterator[Bench]:
    """An orchestrator and an agent that trusts `key`; at the end the agent, its holder and its modules are ended."""
    async with Orchestrator(folder, CA) as orchestrator:
        node = Node(folder, CA, orchestrator, more=more)
        (node.keys / "publisher.pem").write_bytes(public_pem(KEY.public_key()))
        try:
            if start:
                await node.start()
            yield Bench(orchestrator, node, KEY)
        finally:
            if node.ended():
                node.launch()  # adopts what is left, to end it
                await node.ready()
            await node.stop()


def asynchronous(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that is a coroutine, in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        async def whole() -> None:
            await test(*arguments, **named)

        asyncio.run(whole())

    return run
