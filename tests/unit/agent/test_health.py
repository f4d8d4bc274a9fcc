"""Telling a candidate that ended from one that threw its listener away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from agent import health
from agent.addresses import Program
from agent.config import AgentConfig
from agent.failures import FailureCode, OperationFailed
from agent.health import HealthGate
from agent.holder.protocol import Handover, LimitsBy, ProcessExited, ProcessIdentity, ProcessState
from agent.manifest import Health, Kind, Manifest
from agent.paths import NodeFolders
from agent.processes import Processes
from agent.records import ReleaseRecord
from tests.unit.agent.test_supervisor import COMMAND, KEY, Holder

IDENTITY = ProcessIdentity.parse("boot:4711:815")


class Ending(Holder):
    """Tells the end of the candidate after some seconds."""

    def __init__(self, folder: Path, after: float) -> None:
        super().__init__(folder)
        self._after = after

    async def ended(self, _: object) -> ProcessExited:
        await asyncio.sleep(self._after)
        return ProcessExited(IDENTITY, 3, False)


@pytest.mark.parametrize(
    ("told_after", "code"), [(0.05, FailureCode.EXITED), (3600.0, FailureCode.NOT_LISTENING)], ids=["ended", "lives"]
)
def test_a_process_that_ended_has_not_closed_its_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_after: float, code: FailureCode
) -> None:
    monkeypatch.setattr(health, "held_by_session", lambda *_: False)
    gate = HealthGate(cast(AgentConfig, None), cast(Processes, Ending(tmp_path, told_after)))
    assert COMMAND.target is not None
    release = ReleaseRecord.of(COMMAND, COMMAND.target, Kind.PROCESS)
    manifest = Manifest(KEY.module, "1.0.0", Kind.PROCESS, health=Health(alive_for=3600.0))
    program = Program(KEY, release, manifest, NodeFolders(tmp_path).module(KEY))
    process = ProcessState(
        identity=IDENTITY, name="x", tag="x", keys=("a key",), side=None, handover=Handover.SOCKET, running=True,
        exit_code=None, port=None, forwarder=None, limits_by=LimitsBy.RLIMIT, log_file=tmp_path / "A.log",
        retiring=False,
    )  # fmt: skip

    async def scenario() -> None:
        with pytest.raises(OperationFailed) as failed:
            await gate.pass_through(program, process, [], 0, active=False)
        assert failed.value.code is code

    asyncio.run(scenario())
