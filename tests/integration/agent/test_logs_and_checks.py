"""What the node tells about its modules: logs, followed over a swap; metrics; validation."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.agent.bench import Bench, asynchronous, bench
from tests.integration.agent.orchestrator import TENANT
from tests.integration.agent.releases import service, website
from tests.integration.agent.test_process_modules import ask, port_of

MODULE = f"/v1/modules/{TENANT}/web-service"
HEALTH = "health: {path: /healthz, interval: 0.05, startTimeout: 20}\nmetrics: {path: /metrics}\n"


@asynchronous
async def test_a_log_is_followed_over_a_swap(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two = service("1.0.0", at.key), service("2.0.0", at.key)
        at.orchestrator.serve(one, two)
        await at.orchestrator.do("qa-1", one, 1)
        newest = await at.orchestrator.call("qa-1", "GET", f"{MODULE}/log?bytes=20")
        assert len(newest.body["text"]) == 20
        response = await at.orchestrator.stream("qa-1", f"{MODULE}/log?bytes=65536&follow=1")
        said = (await response.content.readline()).decode()
        assert said.startswith("1.0.0 starts as good")
        await at.orchestrator.do("qa-1", two, 2)
        async with asyncio.timeout(30):
            while not said.startswith("2.0.0 starts as good"):
                said = (await response.content.readline()).decode()
        response.close()


@asynchronous
async def test_a_log_has_what_a_failed_release_wrote(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, bad = service("1.0.0", at.key), service("2.0.0", at.key, behaviour="exits")
        at.orchestrator.serve(one, bad)
        await at.orchestrator.do("qa-1", one, 1)
        assert (await at.orchestrator.do("qa-1", bad, 2))["state"] == "failed"
        text = (await at.orchestrator.call("qa-1", "GET", f"{MODULE}/log")).body["text"]
        lines = text.splitlines()
        assert lines[0].startswith("--- side A, 1.0.0 is active there; last written 2"), text
        assert lines[1].startswith("1.0.0 starts as good")
        assert lines[2].startswith("--- side B, nothing runs there now; last written 2")
        assert lines[3].startswith("2.0.0 starts as exits") and lines[4] == "no licence found"
        few = (await at.orchestrator.call("qa-1", "GET", f"{MODULE}/log?bytes=20")).body["text"]
        heads = sum(len(line) + 1 for line in few.splitlines() if line.startswith("---"))
        assert len(few) - heads in (20, 21) and few.endswith("ce found\n")


async def validate(at: Bench, digest: str, *checks: dict[str, object], module: str = MODULE) -> dict[str, object]:
    body = {"digest": digest, "checks": list(checks), "timeout": 1}
    return (await at.orchestrator.call("qa-1", "POST", f"{module}/validate", body)).body


@asynchronous
async def test_validation_and_metrics(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, site = service("1.0.0", at.key, more=HEALTH), website("1.0.0", at.key)
        at.orchestrator.serve(one, site)
        port = port_of(await at.orchestrator.do("qa-1", one, 1))
        good = await validate(at, one.digest, {"path": "/healthz"}, {"path": "/", "status": 200, "maxLatencyMs": 5000})
        assert (good["ok"], good["status"], good["activeDigest"]) == (True, "running", one.digest)
        results = good["results"]
        assert isinstance(results, list) and [each["status"] for each in results] == [200, 200]
        bad = await validate(at, one.digest, {"path": "/", "status": 204}, {"path": "/", "maxLatencyMs": 0.0001})
        assert bad["ok"] is False
        assert "answered 200, not 204" in str(bad["outputTail"]) and "more than" in str(bad["outputTail"])
        assert (await validate(at, site.digest))["ok"] is False
        malformed = await at.orchestrator.call("qa-1", "POST", f"{MODULE}/validate", {"digest": 1})
        assert (malformed.status, malformed.code) == (400, "malformed")
        await at.orchestrator.do("qa-1", site, 1)
        there = await validate(at, site.digest, module=f"/v1/modules/{TENANT}/web-site")
        assert (there["ok"], there["status"]) == (True, "installed")

        assert "http_requests_total" in await ask(port, "/metrics")
        metrics = await at.orchestrator.call("qa-1", "GET", f"{MODULE}/metrics")
        assert "http_requests_total" in metrics.body["text"]
        none = await at.orchestrator.call("qa-1", "GET", f"/v1/modules/{TENANT}/web-site/metrics")
        assert none.status == 404
        await at.orchestrator.until(lambda: at.orchestrator.module("qa-1", "web-service")["metrics"] is not None)
        told = at.orchestrator.module("qa-1", "web-service")["metrics"]
        assert set(told) == {"requestsPerSecond", "errorRate", "latencyMs"}
        totals = at.orchestrator.module("qa-1", "web-service")["totals"]
        assert set(totals) == {"requests", "errors", "timed", "seconds"} and totals["requests"] >= 1
        assert at.orchestrator.module("qa-1", "web-site")["totals"] is None
        beat = at.orchestrator.beats["qa-1"]
        assert beat["labels"] == {"role": "web"} and beat["resources"]["memoryMB"] > 100
        assert all(0 <= share <= 1 for share in beat["metrics"].values())
