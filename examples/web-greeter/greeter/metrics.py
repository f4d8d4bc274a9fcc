"""Counters and a histogram in Prometheus' text format, and what the kernel knows about this process."""

from __future__ import annotations

import bisect
import os
import threading
import time
from pathlib import Path

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._start_time = _start_time()

    def observe(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count one answered request."""
        with self._lock:
            key = (method, route, code)
            self._requests[key] = self._requests.get(key, 0) + 1
            self._buckets[bisect.bisect_left(_BUCKETS, seconds)] += 1
            self._seconds += seconds

    def text(self, version: str, connections: int) -> str:
        """The exposition, version 0.0.4."""
        with self._lock:
            requests = sorted(self._requests.items())
            buckets = list(self._buckets)
            seconds = self._seconds
        lines = ["# TYPE http_requests_total counter"]
        lines += [
            f'http_requests_total{{method="{method}",route="{route}",code="{code}"}} {count}'
            for (method, route, code), count in requests
        ]
        lines.append("# TYPE http_request_duration_seconds histogram")
        total = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'http_request_duration_seconds_bucket{{le="{bound}"}} {total}')
        lines += [f"http_request_duration_seconds_sum {seconds:.6f}", f"http_request_duration_seconds_count {total}"]
        for name, kind, value in (*_process(self._start_time), ("http_connections", "gauge", float(connections))):
            lines += [f"# TYPE {name} {kind}", f"{name} {value:.17g}"]
        lines += ["# TYPE greeter_build_info gauge", f'greeter_build_info{{version="{version}"}} 1', ""]
        return "\n".join(lines)


def _process(start_time: float) -> list[tuple[str, str, float]]:
    page = os.sysconf("SC_PAGE_SIZE")
    virtual, resident = (int(field) * page for field in Path("/proc/self/statm").read_text("ascii").split()[:2])
    return [
        ("process_cpu_seconds_total", "counter", time.process_time()),
        ("process_resident_memory_bytes", "gauge", resident),
        ("process_virtual_memory_bytes", "gauge", virtual),
        ("process_start_time_seconds", "gauge", start_time),
        ("process_open_fds", "gauge", sum(1 for _ in Path("/proc/self/fd").iterdir())),
    ]


def _start_time() -> float:
    """Seconds since the epoch at which the kernel started this process."""
    ticks = int(Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    lines = Path("/proc/stat").read_text("ascii").splitlines()
    boot = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK")
