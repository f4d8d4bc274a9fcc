"""`hotswap up` whole, with agents: a kill -9 of the supervisor, adoption, and what a stop leaves."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.integration.stack.running import RunningStack, until

QUEUES = ("pipeline", "build", "scan", "deploy", "urgent", "control")


def _status(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(json.load(response)["status"])
    except OSError:
        return None


@pytest.mark.timeout(600)
def test_orphans_are_ended_holders_are_adopted_and_a_stop_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RunningStack(folder, nodes="qa=2,development=1") as first:
        urls = first.until_ready()
        until(lambda: _status(urls["api"] + "/health/ready") == "ok", "every check passes")
        for service in (*QUEUES, "beat", "flower", "api", "agent-listener", "agents"):
            assert first.key(service).is_alive()
        holders = first.holders()
        assert len(holders) == 3
        orphans = first.processes()
        os.kill(first.key("deploy").pid, signal.SIGSTOP)
        first.process.kill()
        first.process.wait()
        with RunningStack(folder, nodes="qa=2") as second:
            second.until_ready()
            assert [key for key in orphans if key.is_alive()] == []
            kept = second.holders()
            assert len(kept) == 2
            assert kept < holders  # the node that is no longer asked for has ended
            until(lambda: len([key for key in holders if key.is_alive()]) == 2, "its holder has ended")
            # Agents that cannot end anything any more: their modules end all the same.
            os.kill(second.key("agents").pid, signal.SIGSTOP)
            assert second.stop(signal.SIGINT) == 0
            assert second.survivors() == []
            assert [key for key in holders if key.is_alive()] == []
