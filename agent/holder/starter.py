"""Starting a holder process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.holder.protocol import HolderLost

HolderStarter = Callable[[Path], Awaitable[None]]


async def start_holder(folder: Path) -> None:
    """`python -m agent.holder --folder F`, detached: it is nobody's child here. Raises HolderLost."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-m", "agent.holder", "--folder", str(folder), "--detach",
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = await process.stderr.read(4096)
    if await process.wait():
        raise HolderLost(f"the holder does not start: {said.decode(errors='replace').strip()}")
