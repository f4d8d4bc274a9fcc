"""What must happen although the holder fails in the middle of an activation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from agent.health import HealthGate
from agent.holder.protocol import HolderLost
from agent.journal import Journal
from agent.operation import Operation
from agent.process_activation import ProcessActivation
from agent.processes import Processes
from agent.protocol import ModuleKey
from agent.supervisor import Supervisor
from tests.unit.agent.test_supervisor import COMMAND, KEY, Holder
from tests.unit.agent.test_supervisor import journal as journal


class Supervision:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def free_side(self, *_: object) -> None:
        self.asked.append("free_side")

    async def halt(self, *_: object) -> None:
        self.asked.append("halt")

    async def resume(self, key: ModuleKey) -> None:
        self.asked.append(f"resume {key.module}")


def test_the_old_release_comes_back_even_if_the_candidate_cannot_be_ended(tmp_path: Path, journal: Journal) -> None:
    holder, supervision = Holder(tmp_path), Supervision()
    holder.failing = [("listen", HolderLost("gone")), ("find", HolderLost("gone"))]
    processes = cast(Processes, holder)
    activation = ProcessActivation(journal, processes, cast(Supervisor, supervision), cast(HealthGate, None))
    module = journal.module(KEY)
    assert module.active is not None
    program = processes.program(KEY, module.active)

    async def scenario() -> None:
        with pytest.raises(HolderLost):
            await activation._interrupt(Operation(COMMAND, 0.0), module, program, program)

    asyncio.run(scenario())
    assert supervision.asked == ["free_side", "halt", f"resume {KEY.module}"]
