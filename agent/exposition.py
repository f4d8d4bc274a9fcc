"""Prometheus' text format, as much of it as a module's metrics need, and the three figures of a heartbeat."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """The samples of an exposition; lines that are none are left out."""
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None or line.startswith("#"):
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        yield Sample(match[1], dict(LABEL.findall(match[2] or "")), value)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a module since its start: requests, those that failed (5xx), and seconds spent in them."""

    at: float  # monotonic seconds
    requests: float
    errors: float
    timed: float
    seconds: float

    def as_json(self) -> dict[str, float]:
        """As a heartbeat carries them."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "timed": self.timed,
            "seconds": round(self.seconds, 6),
        }


def totals(text: str, at: float) -> Totals | None:
    """Sums over `http_requests_total` and `http_request_duration_seconds` (API.md); None where neither is there, or
    where they are more than a number can be: no JSON carries infinity, and a heartbeat must not fail for it."""
    requests = errors = timed = seconds = 0.0
    found = False
    for sample in samples(text):
        if not math.isfinite(sample.value):
            continue
        match sample.name:
            case "http_requests_total":
                found = True
                requests += sample.value
                code = sample.labels.get("status") or sample.labels.get("code") or ""
                errors += sample.value if code.startswith("5") else 0.0
            case "http_request_duration_seconds_count":
                found = True
                timed += sample.value
            case "http_request_duration_seconds_sum":
                seconds += sample.value
    sums = (requests, errors, timed, seconds)
    return Totals(at, *sums) if found and all(map(math.isfinite, sums)) else None


@dataclass(frozen=True, slots=True)
class Rates:
    """What users got between two looks. `error_rate` is a share of 1."""

    requests_per_second: float
    error_rate: float
    latency_ms: float

    def as_json(self) -> dict[str, float]:
        """As a heartbeat carries it."""
        return {
            "requestsPerSecond": round(self.requests_per_second, 3),
            "errorRate": round(self.error_rate, 5),
            "latencyMs": round(self.latency_ms, 3),
        }


def rates(before: Totals, after: Totals) -> Rates | None:
    """The difference of two looks; None if no time passed or the counters started anew (a restart, a swap)."""
    span = after.at - before.at
    requests, errors = after.requests - before.requests, after.errors - before.errors
    timed, seconds = after.timed - before.timed, after.seconds - before.seconds
    if span <= 0 or min(requests, errors, timed, seconds) < 0:
        return None
    return Rates(
        requests_per_second=max(requests, timed if after.requests == 0 else 0.0) / span,
        error_rate=errors / requests if requests else 0.0,
        latency_ms=seconds / timed * 1000 if timed else 0.0,
    )
