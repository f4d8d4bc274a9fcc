"""The node's own validation of what it runs: asked of the module's endpoint, as its users reach it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent import logs
from agent.httpget import NoAnswer, get
from agent.protocol import DIGEST, Fields, ModuleKey
from agent.records import ModuleRecord
from agent.refusals import malformed
from agent.supervisor import ModuleStatus, Watch

LONGEST_TIMEOUT = 60.0
MOST_CHECKS = 50
PAUSE = 0.25  # seconds between two attempts of a check that fails


@dataclass(frozen=True, slots=True)
class Check:
    """One GET and what it has to answer."""

    path: str
    status: int
    max_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class ValidateRequest:
    """The body of a validate call; `timeout` in seconds, for all checks together: each has at least half of it."""

    key: ModuleKey
    digest: str
    checks: tuple[Check, ...]
    timeout: float


def parse_validate(key: ModuleKey, body: object) -> ValidateRequest:
    """Raises `Refusal` (malformed)."""
    fields = Fields(body)
    fields.refuse_others("digest", "checks", "timeout")
    checks = fields.raw("checks") or []
    if not isinstance(checks, list) or len(checks) > MOST_CHECKS:
        raise malformed(f"checks is not a list of at most {MOST_CHECKS}")
    return ValidateRequest(
        key=key,
        digest=fields.text("digest", DIGEST),
        checks=tuple(_check(check) for check in checks),
        timeout=fields.seconds("timeout", 10.0, LONGEST_TIMEOUT),
    )


def _check(value: object) -> Check:
    fields = Fields(value, "a check")
    fields.refuse_others("path", "status", "maxLatencyMs")
    path = fields.text("path")
    if not path.startswith("/") or any(character <= " " for character in path):
        raise malformed("path of a check does not start with / or has spaces")
    status = fields.whole("status", 100, 599) if fields.raw("status") is not None else 200
    latency = None if fields.raw("maxLatencyMs") is None else fields.seconds("maxLatencyMs", 0.0, 1e9)
    return Check(path, status, latency)


async def validate(request: ValidateRequest, module: ModuleRecord, watch: Watch | None) -> dict[str, object]:
    """Run the checks; one that fails is asked again until the timeout, so that a passing hiccup fails nobody."""
    active = module.active.digest if module.active is not None else None
    status = watch.status if watch is not None else ModuleStatus.INSTALLED if active else ModuleStatus.STOPPED
    deadline = time.monotonic() + request.timeout
    results = await _run_all(request.checks, watch, deadline)
    right = active == request.digest and status in (ModuleStatus.RUNNING, ModuleStatus.INSTALLED)
    said = logs.tail(watch.process.log_file) if watch is not None and watch.process is not None else ""
    return {
        "ok": right and all(result["ok"] for result in results),
        "activeDigest": active,
        "status": status.value,
        "results": results,
        "outputTail": logs.as_tail("\n".join([said, *_problems(results)]).strip()),
    }


def _problems(results: Sequence[dict[str, object]]) -> list[str]:
    return [f"{result['path']}: {result['message']}" for result in results if not result["ok"]]


async def _run_all(checks: Sequence[Check], watch: Watch | None, deadline: float) -> list[dict[str, object]]:
    """One after the other, so that they do not slow each other down; but one that fails or hangs is gone on with
    beside those after it, so that it takes none of their time: all have begun when half of the time is over."""
    head_start = (deadline - time.monotonic()) / 2 / max(1, len(checks))
    async with asyncio.TaskGroup() as group:
        tasks = []
        for check in checks:
            tasks.append(group.create_task(_run(check, watch, deadline)))
            await asyncio.wait(tasks[-1:], timeout=head_start)
    return [task.result() for task in tasks]


async def _run(check: Check, watch: Watch | None, deadline: float) -> dict[str, object]:
    """Ask until it is well or the time is over; then the last answer, which counts more than that the time was over."""
    if watch is None or not watch.endpoints:
        return _result(check, None, None, "the module has no endpoint on this node")
    result: dict[str, object] | None = None
    while True:
        left = max(0.05, round(deadline - time.monotonic(), 2))
        try:
            reply = await get(watch.endpoints[0].connect_to, check.path, left)
        except NoAnswer as error:
            if result is None or not error.timed_out:
                result = _result(check, None, None, str(error))
        else:
            result = _result(check, reply.status, reply.latency_ms, _problem(check, reply.status, reply.latency_ms))
        if result["ok"] or time.monotonic() + PAUSE > deadline:
            return result
        await asyncio.sleep(PAUSE)


def _problem(check: Check, status: int, latency_ms: float) -> str:
    if status != check.status:
        return f"answered {status}, not {check.status}"
    if check.max_latency_ms is not None and latency_ms > check.max_latency_ms:
        return f"took {latency_ms:.0f} ms, more than {check.max_latency_ms:.0f} ms"
    return ""


def _result(check: Check, status: int | None, latency_ms: float | None, problem: str) -> dict[str, object]:
    return {
        "path": check.path,
        "status": status,
        "latencyMs": None if latency_ms is None else round(latency_ms, 2),
        "ok": not problem,
        "message": problem,
    }
