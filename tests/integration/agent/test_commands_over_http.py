"""The protocol over real HTTP: refusals, resolve, voiding, readiness, who is let in."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.certificates import issue_node_certificate
from agent.config import TlsFiles
from agent.signatures import Digest
from agent.tls import client_context, node_name
from tests.integration.agent.bench import CA, Bench, asynchronous, bench
from tests.integration.agent.orchestrator import TENANT
from tests.integration.agent.releases import Release, website

SLOW = "hooks:\n  beforeInstall: {command: [sh, -c, 'echo waiting; sleep 100']}\n"


def slow(version: str, at: Bench) -> Release:
    made = website(version, at.key, SLOW)
    at.orchestrator.serve(made)
    return made


def fast(version: str, at: Bench) -> Release:
    made = website(version, at.key)
    at.orchestrator.serve(made)
    return made


async def until_step(at: Bench, operation_id: str, step: str) -> None:
    while (await at.orchestrator.call("qa-1", "GET", f"/v1/operations/{operation_id}")).body["step"] != step:
        await asyncio.sleep(0.02)


def resolution(token: int, wait: float = 20) -> dict[str, Any]:
    return {"tenant": TENANT, "module": "web-site", "fencingToken": token, "wait": wait}


@asynchronous
async def test_refusals_in_their_order(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, two, waits = fast("1.0.0", at), fast("2.0.0", at), slow("3.0.0", at)
        do, put = at.orchestrator.do, at.orchestrator.put
        await do("qa-1", one, 5, operation_id="first")
        _, same = await put("qa-1", one, 5, operation_id="first")
        assert (same.status, same.body["state"]) == (200, "succeeded")
        _, other = await put("qa-1", two, 5, operation_id="first")
        assert (other.status, other.code) == (422, "mismatch")
        _, stale = await put("qa-1", two, 4)
        assert (stale.status, stale.code, stale.body["error"]["highestToken"]) == (409, "stale", 5)
        _, unexpected = await put("qa-1", two, 5, expectedActive=None)
        assert (unexpected.status, unexpected.code) == (412, "unexpected_active")
        assert unexpected.body["error"]["activeDigest"] == one.digest

        running, started = await put("qa-1", waits, 6)
        assert (started.status, started.body["state"]) == (202, "running")
        _, again = await put("qa-1", waits, 6, operation_id=running, timeout=5)
        assert again.status == 202
        _, busy = await put("qa-1", two, 6)
        assert (busy.status, busy.code, busy.body["error"]["operationId"]) == (409, "busy", running)

        await until_step(at, running, "beforeInstall")
        newer = await do("qa-1", two, 7)
        assert newer["activeVersion"] == "2.0.0"
        older = await at.orchestrator.result("qa-1", running)
        assert (older["state"], older["changed"]) == ("superseded", False)
        _, late = await put("qa-1", waits, 6, operation_id=running)
        assert (late.status, late.body["state"]) == (200, "superseded")
        metrics = (await at.orchestrator.call("qa-1", "GET", "/metrics")).body["text"]
        assert 'hotswap_stale_commands_total{where="agent",reason="stale"} 1' in metrics
        assert 'hotswap_stale_commands_total{where="agent",reason="known_id"} 1' in metrics


@asynchronous
async def test_resolve(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, waits = fast("1.0.0", at), slow("2.0.0", at)

        async def resolve(operation_id: str, body: dict[str, Any]) -> Any:
            return await at.orchestrator.call("qa-1", "POST", f"/v1/operations/{operation_id}/resolve", body)

        await at.orchestrator.do("qa-1", one, 1, operation_id="done")
        answer = await resolve("done", resolution(1))
        assert (answer.status, answer.body["state"]) == (200, "succeeded")

        running, _ = await at.orchestrator.put("qa-1", waits, 2)
        await until_step(at, running, "beforeInstall")
        answer = await resolve(running, resolution(3))
        assert (answer.status, answer.body["state"], answer.body["activeDigest"]) == (200, "superseded", one.digest)
        assert answer.body["outputTail"] == "waiting\n"

        answer = await resolve("never-sent", resolution(4))
        assert (answer.status, answer.body["state"]) == (200, "void")
        _, late = await at.orchestrator.put("qa-1", waits, 4, operation_id="never-sent")
        assert (late.status, late.code) == (409, "void")
        answer = await resolve("never-sent", resolution(1))
        assert (answer.status, answer.body["state"]) == (200, "void")
        answer = await resolve("also-never-sent", resolution(3))
        assert (answer.status, answer.code) == (409, "stale")
        _, refused = await at.orchestrator.put("qa-1", waits, 3)
        assert (refused.status, refused.code) == (409, "stale")

        await at.node.kill()
        await at.node.start()
        _, late = await at.orchestrator.put("qa-1", waits, 4, operation_id="never-sent")
        assert (late.status, late.code) == (409, "void")
        unknown = await at.orchestrator.call("qa-1", "GET", "/v1/operations/nobody-knows")
        assert (unknown.status, unknown.code) == (404, "unknown")


@asynchronous
async def test_heartbeats_void_raise_and_make_ready(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, waits = fast("1.0.0", at), slow("2.0.0", at)
        running, _ = await at.orchestrator.put("qa-1", waits, 1)
        await until_step(at, running, "beforeInstall")
        at.orchestrator.answer = {
            "interval": 0.05,
            "nodeLostAfter": 120,
            "void": [running, "not-seen-yet"],
            "tokenFloors": [{"tenant": TENANT, "module": "other-module", "fencingToken": 9}],
        }
        stopped = await at.orchestrator.result("qa-1", running)
        assert stopped["state"] == "superseded"
        await at.orchestrator.until(lambda: at.orchestrator.module("qa-1", "other-module").get("fencingToken") == 9)
        _, late = await at.orchestrator.put("qa-1", one, 1, operation_id="not-seen-yet")
        assert (late.status, late.code) == (409, "void")
        assert at.orchestrator.beats["qa-1"]["highestToken"] == 9

        # silent for longer than half of nodeLostAfter
        at.orchestrator.answer = {"interval": 0.05, "nodeLostAfter": 0.4, "void": [], "tokenFloors": []}
        await at.node.ready()
        at.orchestrator.silent = True
        await asyncio.sleep(0.4)
        _, refused = await at.orchestrator.put("qa-1", one, 2)
        assert (refused.status, refused.code) == (503, "not_ready")
        assert (await at.orchestrator.call("qa-1", "GET", f"/v1/operations/{running}")).status == 200
        at.orchestrator.answer["nodeLostAfter"] = 120
        at.orchestrator.silent = False
        await at.node.ready()
        assert (await at.orchestrator.do("qa-1", one, 2))["state"] == "succeeded"
        before = at.orchestrator.beats["qa-1"]["sequence"]
        await at.node.kill()
        await at.node.start()  # the orchestrator checks that the sequence grew
        assert at.orchestrator.beats["qa-1"]["sequence"] > before


@asynchronous
async def test_a_timeout_undoes(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        result = await at.orchestrator.do("qa-1", slow("1.0.0", at), 1, timeout=0.7)
        assert (result["state"], result["error"]["code"], result["activeDigest"]) == ("failed", "timeout", None)
        assert not (at.node.data / "modules" / TENANT / "web-site" / "current").exists()


@asynchronous
async def test_a_stopped_agent_undoes_what_runs(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one, waits = fast("1.0.0", at), slow("2.0.0", at)
        await at.orchestrator.do("qa-1", one, 1)
        running, _ = await at.orchestrator.put("qa-1", waits, 2)
        await until_step(at, running, "beforeInstall")
        await at.node.stop(modules=False)
        await at.node.start()
        result = await at.orchestrator.result("qa-1", running)
        assert (result["state"], result["error"]["code"]) == ("failed", "interrupted")
        assert "stopped" in result["error"]["message"]
        assert result["activeDigest"] == one.digest
        assert (at.node.data / "modules" / TENANT / "web-site" / "current/index.html").read_text() == "1.0.0"


@asynchronous
async def test_the_token_is_on_disk_before_anything_else(tmp_path: Path) -> None:
    async with bench(tmp_path, start=False) as at:
        one = fast("1.0.0", at)
        await at.node.start(crash_at="accepted")
        with pytest.raises(aiohttp.ClientError):
            await at.orchestrator.put("qa-1", one, 17)
        await at.node.died()
        assert at.orchestrator.artifacts[one.digest].ranges == []
        rows = sqlite3.connect(at.node.data / "journal.sqlite3").execute("SELECT highest_token FROM modules").fetchall()
        assert rows == [(17,)]
        await at.node.start()
        _, stale = await at.orchestrator.put("qa-1", one, 16)
        assert (stale.status, stale.body["error"]["highestToken"]) == (409, 17)


@asynchronous
async def test_who_is_let_in_and_what_is_taken(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        address = at.orchestrator.beats["qa-1"]["address"]
        other = TlsFiles(tmp_path / "ca.pem", tmp_path / "other.pem", tmp_path / "other.key")
        issue_node_certificate(CA, "qa-2", "QA").write(other.certificate, other.key)
        anonymous = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        async with aiohttp.ClientSession() as session:

            async def call(context: ssl.SSLContext, name: str = "qa-1", **request: Any) -> int:
                method, path = request.pop("method", "GET"), request.pop("path", "/v1/state")
                async with session.request(
                    method, f"https://{address}{path}", ssl=context, server_hostname=node_name(name), **request
                ) as response:
                    return response.status

            with pytest.raises(aiohttp.ClientError):
                await call(anonymous)
            assert await call(client_context(other)) == 403
            orchestrator = client_context(at.orchestrator.tls)
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await call(orchestrator, name="qa-9")
            assert await call(orchestrator) == 200
            put = {"method": "PUT", "path": "/v1/operations/op-9"}
            for body in (b"", b"{", b"[]", b'{"tenant": 1}', b"[" * 100_000, b'{"fencingToken": NaN}'):
                assert await call(orchestrator, data=body, **put) == 400, body[:20]
            assert await call(orchestrator, data=b"x" * 2_000_000, **put) == 413
            assert await call(orchestrator, path="/v1/operations/..%2f..") == 400
            assert await call(orchestrator, path=f"/v1/modules/{TENANT}/no-such-module/log") == 404
            assert await call(orchestrator, path="/v1/operations/x?wait=forever") == 400


@asynchronous
async def test_downloads(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        noise = json.dumps(list(range(40_000))).encode()
        one = website("1.0.0", at.key, files={"noise.json": noise})
        at.orchestrator.serve(one)
        served = at.orchestrator.artifacts[one.digest]
        third = len(one.archive) // 3
        served.cut_at = [third, third]
        result = await at.orchestrator.do("qa-1", one, 1)
        assert result["state"] == "succeeded", result
        assert served.ranges == [None, f"bytes={third}-", f"bytes={2 * third}-"]

        two = fast("2.0.0", at)
        at.orchestrator.artifacts[two.digest].content = bytes(reversed(two.archive))
        wrong = await at.orchestrator.do("qa-1", two, 2)
        assert (wrong["state"], wrong["error"]["code"]) == ("failed", "verification_failed")
        at.orchestrator.artifacts[two.digest].content = two.archive + b"more"
        wrong = await at.orchestrator.do("qa-1", two, 2)
        assert wrong["error"]["code"] == "verification_failed"
        del at.orchestrator.artifacts[two.digest]
        wrong = await at.orchestrator.do("qa-1", two, 2)
        assert wrong["error"]["code"] == "fetch_failed"
        assert "no such artifact" in wrong["outputTail"]
        assert wrong["activeDigest"] == one.digest
        assert list((at.node.data / "staging").iterdir()) == []


@asynchronous
async def test_a_damaged_part_is_fetched_again(tmp_path: Path) -> None:
    """A power cut may leave a part of the right size whose bytes never reached the disk."""
    async with bench(tmp_path) as at:
        one, two = fast("1.0.0", at), fast("2.0.0", at)
        staging = at.node.data / "staging"
        staging.mkdir(exist_ok=True)

        def part(of: Release, size: int) -> None:
            (staging / f"{of.digest.removeprefix('sha256:')}.part").write_bytes(bytes(size))

        part(one, len(one.archive))
        assert (await at.orchestrator.do("qa-1", one, 1))["state"] == "succeeded"
        assert at.orchestrator.artifacts[one.digest].ranges == [None]

        served = at.orchestrator.artifacts[two.digest]
        half = len(two.archive) // 2
        part(two, half)
        assert (await at.orchestrator.do("qa-1", two, 2))["state"] == "succeeded"
        assert served.ranges == [f"bytes={half}-", None]

        three = fast("3.0.0", at)
        served = at.orchestrator.artifacts[three.digest]
        served.content = bytes(reversed(three.archive))
        part(three, len(three.archive))
        wrong = await at.orchestrator.do("qa-1", three, 3)
        assert wrong["error"]["code"] == "verification_failed"
        assert str(Digest.of_bytes(served.content)) in wrong["error"]["message"]  # of what came, not of the zeros
        assert served.ranges == [None]
        assert list(staging.iterdir()) == []


@asynchronous
async def test_only_pinned_keys_and_valid_archives(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = fast("1.0.0", at)
        pem = at.node.keys / "publisher.pem"
        kept = pem.read_bytes()
        pem.unlink()
        refused = await at.orchestrator.do("qa-1", one, 1)
        assert refused["error"]["code"] == "verification_failed"
        assert one.key_id in refused["error"]["message"]
        assert at.orchestrator.artifacts[one.digest].ranges == []  # not even fetched
        pem.write_bytes(kept)
        assert (await at.orchestrator.do("qa-1", one, 1))["state"] == "succeeded"

        two = fast("2.0.0", at)
        target = {**two.target(), "signature": one.signature}
        forged = await at.orchestrator.do("qa-1", two, 2, target=target)
        assert forged["error"]["code"] == "verification_failed"
        renamed = await at.orchestrator.do("qa-1", two, 2, target={**two.target(), "version": "2.0.1"})
        assert renamed["error"]["code"] == "bad_archive"
        assert "2.0.1" in renamed["error"]["message"]
        leftovers = [place.name for place in (at.node.data / "modules" / TENANT / "web-site" / "releases").iterdir()]
        assert leftovers == [f"1.0.0-{one.digest.removeprefix('sha256:')}"]


@asynchronous
async def test_a_release_that_the_node_cannot_carry_starts_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        one = fast("1.0.0", at)
        big = website("2.0.0", at.key, "resources: {memoryMB: 16777216, cpuCores: 0.5, diskMB: 16777216}\n")
        at.orchestrator.serve(big)
        await at.orchestrator.do("qa-1", one, 1)
        for token in (2, 3):  # nothing of it is kept that would pass as checked the next time
            result = await at.orchestrator.do("qa-1", big, token)
            assert (result["state"], result["error"]["code"]) == ("failed", "insufficient_resources")
            said = result["error"]["message"]
            assert "memoryMB 16777216 of" in said and "diskMB 16777216 of" in said and "cpuCores" not in said
            assert (result["changed"], result["step"], result["activeVersion"]) == (False, "staging", "1.0.0")
