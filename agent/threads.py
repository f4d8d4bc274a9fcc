"""Work that is never left behind half-way: short calls, and blocking work on the disk in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def finished(work: Awaitable[R]) -> R:
    """Await something short that must not be cut in the middle. If this is cancelled, it is waited for first."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise


async def finish_in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread. If this is cancelled, the work is waited for first: what undoes it afterwards
    must not race with it."""
    return await finished(asyncio.to_thread(work, *args, **kwargs))
