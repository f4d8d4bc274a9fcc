"""The engine when what it runs fails at a bad moment: behind the commit, where nothing may be undone."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent import engine as engines
from agent.engine import Engine
from agent.holder.protocol import HolderLost
from agent.journal import Journal
from agent.metrics import Counters
from agent.operation import ActiveView, Operation, Step
from agent.protocol import ModuleKey
from tests.unit.agent.test_supervisor import COMMAND


class CutActions:
    """Commits, then fails; finishing fails as often as told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    async def perform(self, operation: Operation) -> None:
        operation.committed = operation.changed = True
        raise sqlite3.OperationalError("database or disk is full")

    async def complete(self, operation: Operation) -> None:
        if self.failures:
            raise self.failures.pop(0)
        operation.enter(Step.SWITCHED)

    def active(self, key: ModuleKey) -> ActiveView:
        return ActiveView(None, None, None)


def test_an_error_behind_the_commit_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "RETRY_COMPLETING", 0.01)
    journal = Journal(tmp_path / "journal.sqlite3")
    actions = CutActions(HolderLost("gone"), sqlite3.OperationalError("still full"))

    async def scenario() -> None:
        engine = Engine(journal, actions, Counters(), lambda: True)
        engine.submit(COMMAND)
        ended, result = await engine.wait("op", 20.0)
        assert (ended, result["state"], result["step"], result["changed"]) == (True, "succeeded", "switched", True)
        assert not actions.failures and not engine.running

    asyncio.run(scenario())
    journal.close()
