"""Durations and amounts as they stand in files and on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHORT = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_CLOCK = re.compile(r"(?:(\d+)\.)?(\d{1,4}):([0-5]?\d):([0-5]?\d(?:\.\d{1,6})?)")
_LONGEST = timedelta(days=3660)


def parse_duration(value: object) -> timedelta:
    """Read `90s`, `5m`, `1h30m`, `00:01:30.250`, or a number of seconds, to the millisecond.

    Raises ValueError with a sentence when it is none of these, negative, or over ten years.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a duration such as 90s, 5m or 2h")
    seconds = _seconds(value.strip()) if isinstance(value, str) else value
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError("must be a duration between 0 and ten years")
    return timedelta(milliseconds=round(seconds * 1000))


def _seconds(text: str) -> float:
    if len(text) > 60:
        raise ValueError("must be a duration such as 90s, 5m or 2h")
    clock = _CLOCK.fullmatch(text)
    if clock:
        days, hours, minutes, seconds = clock.groups()
        return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    parts = _SHORT.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 90s, 5m or 2h")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def short_duration(value: timedelta) -> str:
    """`90s`, `2m`, `24h`: the largest unit that divides it, for policies and messages."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def wire_duration(value: timedelta) -> str:
    """`00:01:30.250` as the API answers durations; hours may exceed 24."""
    milliseconds = max(0, round(value.total_seconds() * 1000))
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


@dataclass(frozen=True, slots=True)
class Amount:
    """So many nodes, or a share of them. Percentages of nodes are rounded up."""

    value: int
    percent: bool

    def of(self, total: int) -> int:
        return -(-total * self.value // 100) if self.percent else self.value

    def __str__(self) -> str:
        return f"{self.value}%" if self.percent else str(self.value)

    def to_json(self) -> str | int:
        return f"{self.value}%" if self.percent else self.value


def parse_amount(value: object) -> Amount:
    """Read `25%` or a whole number of nodes. Raises ValueError with a sentence."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100_000:
        return Amount(value, percent=False)
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,6})(%?)", value.strip())
        if match and not (match[2] and int(match[1]) > 100):
            return Amount(int(match[1]), percent=bool(match[2]))
    raise ValueError("must be a number of nodes or a percentage from 0% to 100%")
