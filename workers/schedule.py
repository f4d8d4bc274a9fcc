"""What beat triggers: only what is periodic by nature. Ticks are safe to run twice and expire before the next one."""

from __future__ import annotations

from typing import Any

SCHEDULE: dict[str, dict[str, Any]] = {
    "repair drift": {
        "task": "control.repair_drift",
        "schedule": 5.0,
        "options": {"expires": 5.0, "queue": "control"},
    },
    "expire approvals": {
        "task": "control.expire_approvals",
        "schedule": 2.0,
        "options": {"expires": 2.0, "queue": "control"},
    },
    "collect artifacts": {
        "task": "control.collect_artifacts",
        "schedule": 60.0,
        "options": {"expires": 60.0, "queue": "control"},
    },
    "keep metric samples": {
        "task": "control.keep_metric_samples",
        "schedule": 30.0,
        "options": {"expires": 30.0, "queue": "control"},
    },
    "prove that beat ticks": {
        "task": "control.record_beat",
        "schedule": 5.0,
        "options": {"expires": 10.0, "queue": "control"},
    },
}
