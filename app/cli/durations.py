"""Durations as people type them and as they like to read them."""

from __future__ import annotations

import re

from app.cli.errors import UsageProblem

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)


def seconds_of(text: str) -> float:
    """Seconds of `45m`, `1h30m`, `90` or `00:01:30`. Raises UsageProblem for anything else, and for zero."""
    given = text.strip()
    clock = _CLOCK.fullmatch(given)
    parts = _PART.findall(given)
    if clock:
        seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    elif parts and "".join(number + unit for number, unit in parts) == given:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        seconds = float(given) if _NUMBER.fullmatch(given) else 0.0
    if seconds <= 0:
        raise UsageProblem(f"{text!r} is no duration: write 90s, 45m or 2h")
    return seconds


def clock(seconds: float) -> str:
    """`4.2s` below ten seconds, then `12s`, `3m04s`, `2h05m`, `3d04h`."""
    whole = int(max(seconds, 0))
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def wire_seconds(text: object) -> float | None:
    """Seconds of the API's `00:01:30.250`; None for anything else."""
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
