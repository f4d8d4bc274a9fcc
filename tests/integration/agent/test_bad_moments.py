"""A real agent whose disk fails at the worst moment: behind a commit, and at the first start after a reboot."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.load import Load
from tests.integration.agent.orchestrator import TENANT
from tests.integration.agent.releases import service
from tests.integration.agent.test_process_modules import NAME, ask, holder_of, pid_of, port_of, told

# Every side can be written up to and within the commit, none while the operation is past it.
BEHIND_COMMITS = (
    "CREATE TRIGGER broken BEFORE INSERT ON sides WHEN EXISTS"
    " (SELECT 1 FROM operations WHERE state = 'running' AND step = 'committed')"
    " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
)


def change_journal(at: Bench, statement: str) -> None:
    with closing(sqlite3.connect(at.node.data / "journal.sqlite3", timeout=30)) as database:
        database.execute(statement)
        database.commit()


@asynchronous
async def test_an_operation_whose_journal_fails_behind_its_commit_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two, three = service("1.0.0", at.key), service("2.0.0", at.key), service("3.0.0", at.key)
        at.orchestrator.serve(one, two, three)
        port = port_of(await at.orchestrator.do("qa-1", one, 1))
        change_journal(at, BEHIND_COMMITS)
        async with Load(port).running(2) as load:
            operation_id, _ = await at.orchestrator.put("qa-1", two, 2)
            await at.orchestrator.until(lambda: at.node.log().count(f"cannot finish operation {operation_id}") >= 2)
            snapshot = await at.orchestrator.call("qa-1", "GET", f"/v1/operations/{operation_id}")
            assert (snapshot.status, snapshot.body["activeDigest"]) == (202, two.digest)
            assert await ask(port) == "2.0.0"
            change_journal(at, "DROP TRIGGER broken")
            result = await at.orchestrator.result("qa-1", operation_id)
            assert (result["state"], result["step"], result["changed"]) == ("succeeded", "switched", True)
            await at.orchestrator.until(lambda: told(at)["standby"] == [] and told(at)["version"] == "2.0.0")
            assert (await at.orchestrator.do("qa-1", three, 3))["state"] == "succeeded"
        assert not load.failures


@asynchronous
async def test_users_reach_a_release_whose_first_start_after_a_reboot_failed(tmp_path: Path) -> None:
    """It was active on side B, and a new holder begins with A."""
    async with bench(tmp_path) as at:
        one, two = service("1.0.0", at.key), service("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        await at.orchestrator.do("qa-1", one, 1)
        port = port_of(await at.orchestrator.do("qa-1", two, 2))
        await at.orchestrator.until(lambda: told(at)["standby"] == [])
        pids = [at.node.pid, holder_of(at) or 0, await pid_of(at, two)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await at.node.died()
        log = at.node.data / "modules" / TENANT / NAME / "log" / "B.log"
        log.rename(log.with_name("kept"))
        log.mkdir()  # the holder cannot open it
        await at.node.start()
        await at.orchestrator.until(lambda: told(at)["status"] == "restarting")
        log.rmdir()
        log.with_name("kept").rename(log)
        await at.orchestrator.until(lambda: told(at)["status"] == "running")
        assert await ask(port) == "2.0.0"
