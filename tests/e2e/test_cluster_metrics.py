"""What users of a module got, from its own counters over agent and heartbeat to the cluster's history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.archive import pack_bytes
from tests.e2e.api import Api
from tests.e2e.probe_module import ask, publish
from tests.e2e.stack import Stack
from tests.e2e.waiting import until

GREETER = Path(__file__).resolve().parents[2] / "examples" / "web-greeter"


def test_requests_are_seen_in_the_history(api: Api, stack: Stack) -> None:
    release = publish(api, stack.signing_key, "web-greeter", pack_bytes(GREETER))
    ended = api.finished(api.deploy("web-greeter", release["version"], "Development"))
    assert ended["status"] == "Succeeded", ended
    (active,) = api.active("Development", "web-greeter").values()

    def seen() -> list[Any]:
        for _ in range(5):
            ask(str(active["endpoint"]))
        return [point for point in history() if point["latency"] is not None]

    def history() -> list[Any]:
        points: list[Any] = api.get("/clusters/development/metrics", interval="10s")["dataPoints"]
        return points

    point = until(seen, "a point with requests")[-1]
    assert point["errorRate"] == 0 and 0 < point["latency"] < 60_000
    (load, *_) = [each for each in history() if each["cpuUsage"] is not None]
    assert 0 <= load["cpuUsage"] <= 1 and 0 < load["memoryUsage"] < 1
    # When there was no stack nobody said anything, which is not zero.
    then = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-01T00:01:00Z"}
    (nothing,) = api.get("/clusters/development/metrics", **then)["dataPoints"]
    assert nothing["cpuUsage"] is None and nothing["errorRate"] is None
    metrics = api.cluster("Development")["metrics"]
    assert metrics["avgCpuUsage"] is not None and metrics["requestsPerSecond"] is not None
