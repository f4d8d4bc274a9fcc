"""Supervision with a holder that fails: nothing may end it, and what was missed is made up for."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from agent import supervisor
from agent.addresses import Endpoint, Program
from agent.holder.protocol import Address, HolderLost, ProcessState
from agent.journal import Journal
from agent.manifest import Kind, Manifest
from agent.metrics import Counters
from agent.paths import NodeFolders
from agent.processes import Processes
from agent.protocol import Action, Command, ModuleKey, Target
from agent.records import ReleaseRecord, Role, SideRecord
from agent.supervisor import LONGEST_BACK_OFF, ModuleStatus, Supervisor, back_off

KEY = ModuleKey("11111111-1111-7111-8111-111111111111", "payment-processor")
DIGEST = "sha256:" + "a" * 64
COMMAND = Command("op", KEY, 1, Action.ACTIVATE, Target(DIGEST, "1.0.0", 1, "c2ln", "0123456789abcdef"))
ENDPOINT = Endpoint("http", Address("127.0.0.1", 4711), "a key")


class Running:
    """A process that never ends, for what asks only for its identity."""

    identity = "4711@1"


class Holder:
    """What `Processes` and its parts do, each step failing as often as told, and in which order they were called."""

    def __init__(self, folder: Path) -> None:
        self.holder = self.addresses = self
        self.failing: list[tuple[str, Exception]] = []
        self.calls: list[str] = []
        self._folders = NodeFolders(folder)

    def _do(self, call: str) -> None:
        if self.failing and self.failing[0][0] == call:
            raise self.failing.pop(0)[1]
        self.calls.append(call)

    def subscribe(self, _: object) -> object:
        return lambda: None

    def program(self, key: ModuleKey, release: ReleaseRecord) -> Program:
        return Program(key, release, Manifest(key.module, release.version, Kind.PROCESS), self._folders.module(key))

    known_program = program

    def endpoints(self, _: Program) -> list[Endpoint]:
        return []

    async def listen(self, _: Program) -> list[Endpoint]:
        self._do("listen")
        return [ENDPOINT]

    async def start(self, *_: object) -> ProcessState:
        self._do("start")
        return cast(ProcessState, Running())

    async def steer(self, endpoints: tuple[Endpoint, ...], side: str) -> None:
        self._do(f"steer {[each.key for each in endpoints]} {side}")

    async def ended(self, _: object) -> object:
        self._do("watch")
        return await asyncio.Event().wait()

    async def find(self, _: object) -> None:
        self._do("find")

    async def release(self, _: object) -> None:
        self._do("release")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        journal.accept(COMMAND, 0.0)
        assert COMMAND.target is not None
        release = ReleaseRecord.of(COMMAND, COMMAND.target, Kind.PROCESS)
        journal.commit_active(COMMAND, release, SideRecord(KEY, "B", Role.ACTIVE, release, "op"), None)
        yield journal


def test_the_back_off_is_bounded_however_often_a_module_crashed() -> None:
    assert [back_off(crashes) for crashes in (0, 1, 2, 3)] == [0.1, 0.1, 0.2, 0.4]
    assert back_off(1025) == back_off(10**9) == LONGEST_BACK_OFF


@pytest.mark.parametrize(
    ("failing", "missed"),
    [
        (("listen", HolderLost("gone")), ["listen", "steer ['a key'] B", "start"]),
        (("listen", sqlite3.OperationalError("disk full")), ["listen", "steer ['a key'] B", "start"]),
        (("steer ['a key'] B", HolderLost("gone")), ["steer ['a key'] B", "start"]),
        (("start", HolderLost("gone")), ["start"]),
        (("start", PermissionError("chown")), ["start"]),
        (("start", RuntimeError("unforeseen")), ["start"]),
    ],
    ids=str,
)
def test_what_a_failed_first_start_missed_is_made_up_for(
    tmp_path: Path, journal: Journal, failing: tuple[str, Exception], missed: list[str]
) -> None:
    holder = Holder(tmp_path)
    holder.failing = [failing]

    async def scenario() -> None:
        supervising = Supervisor(journal, cast(Processes, holder), Counters())
        await supervising.resume(KEY)
        assert not supervising.is_running(KEY)
        holder.calls.clear()
        async with asyncio.timeout(30):
            while "watch" not in holder.calls:
                await asyncio.sleep(0.01)
        assert holder.calls == [*missed, "watch"]
        watch = supervising.watch(KEY)
        assert watch is not None and watch.status is ModuleStatus.RUNNING and watch.endpoints == (ENDPOINT,)
        await supervising.close()

    asyncio.run(scenario())


def test_watching_and_draining_go_on_when_the_holder_fails(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ASK_AGAIN", 0.01)
    holder = Holder(tmp_path)
    holder.failing = [("watch", HolderLost("gone")), ("find", HolderLost("gone"))]

    async def scenario() -> None:
        supervising = Supervisor(journal, cast(Processes, holder), Counters())
        await supervising.resume(KEY)
        async with asyncio.timeout(30):
            while "watch" not in holder.calls:
                await asyncio.sleep(0.01)
            (side,) = journal.sides(KEY)
            supervising.drain(side, 1.0)
            while journal.sides(KEY):
                await asyncio.sleep(0.01)
        await supervising.close()

    asyncio.run(scenario())
