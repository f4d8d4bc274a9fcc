"""What /metrics says, in Prometheus' text format. These names are the ones that HotSwap judges a rollout by."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds
_STARTED = time.time()


class Metrics:
    """Counts requests; several threads may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[int, int] = {}
        self._within = [0] * len(_BUCKETS)
        self._count = 0
        self._seconds = 0.0

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer and the seconds that it took."""
        with self._lock:
            self._answers[status] = self._answers.get(status, 0) + 1
            self._count += 1
            self._seconds += seconds
            for index, bound in enumerate(_BUCKETS):
                self._within[index] += seconds <= bound

    def text(self) -> str:
        """The whole page."""
        name = "http_request_duration_seconds"
        with self._lock:
            lines = ["# TYPE http_requests_total counter"]
            lines += [f'http_requests_total{{code="{code}"}} {count}' for code, count in sorted(self._answers.items())]
            lines.append(f"# TYPE {name} histogram")
            pairs = zip(_BUCKETS, self._within)  # noqa: B905 - as many bounds as counts; `strict` came with 3.10
            lines += [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in pairs]
            lines += [f'{name}_bucket{{le="+Inf"}} {self._count}', f"{name}_count {self._count}"]
            lines.append(f"{name}_sum {self._seconds:.6f}")
        lines += ["# TYPE process_cpu_seconds_total counter", f"process_cpu_seconds_total {time.process_time():.3f}"]
        lines += ["# TYPE process_resident_memory_bytes gauge", f"process_resident_memory_bytes {_resident()}"]
        lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {_STARTED:.3f}"]
        return "\n".join(lines) + "\n"


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
