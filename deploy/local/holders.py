"""The end of modules whose agent cannot end them any more.

When a person stops the stack, agents end their modules and holders themselves. One that was dead at that moment, or had
to be killed, leaves both behind; and so does a node that is no longer asked for when the stack starts again.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from agent.holder.client import HolderClient
from agent.holder.protocol import SOCKET_NAME, HolderError

_ANSWER_LIMIT = 5.0  # seconds for a holder to answer, or for a new one to find what a dead one left
_DRAIN_LIMIT = 1.0


async def end_holders(folders: Iterable[Path]) -> list[Path]:
    """End the holders of these nodes with all their modules; the folders of those that did not end.

    A holder removes its socket when it ends in order: where there is none, nothing is left.
    """
    left = [folder for folder in folders if (folder / SOCKET_NAME).exists()]
    ended = await asyncio.gather(*(_end(folder) for folder in left))
    return [folder for folder, done in zip(left, ended, strict=True) if not done]


async def _end(folder: Path) -> bool:
    try:
        client = await HolderClient.open(folder, timeout=_ANSWER_LIMIT)
        async with asyncio.timeout(_ANSWER_LIMIT):
            await client.shutdown(drain_timeout=_DRAIN_LIMIT)
    except (HolderError, OSError, TimeoutError):
        return False
    return True
