"""What contradicts itself in the sections of a policy whose features are built later: canary, judge, blueGreen,
predecessors, freeze. Checked when a policy is given, so that none is stored that could never be followed. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrulestr

from app.domain.durations import parse_amount, parse_duration

Errors = dict[str, list[str]]
SECTIONS = ("canary", "judge", "blueGreen", "predecessors", "freeze")
_SOME_DAY = datetime(2026, 1, 1)
_WORDS = {
    ("canary", "by"): ("nodes", "traffic"),
    ("judge", "onInconclusive"): ("pause", "abort", "promote"),
}
_DURATIONS = (("blueGreen", "keepWarm"), ("judge", "warmUp"), ("judge", "maximumSoak"))
_SHARES = (("judge", "falseAbort"), ("judge", "falsePromote"))


def contradictions(policy: Mapping[str, Any], name: str) -> Errors:
    """Of a whole policy in wire form, for the environment of that name: field -> complaints."""
    errors: Errors = {}
    for (section, key), words in _WORDS.items():
        if policy[section][key] not in words:
            _complain(errors, f"{section}.{key}", f"must be one of {', '.join(words)}")
    spans = {path: _duration(errors, ".".join(path), policy[path[0]][path[1]]) for path in _DURATIONS}
    warm_up, soak = spans["judge", "warmUp"], spans["judge", "maximumSoak"]
    if warm_up is not None and soak is not None and warm_up >= soak:
        _complain(errors, "judge.maximumSoak", "must be longer than warmUp")
    for section, key in _SHARES:
        if _share(policy[section][key]) is None:
            _complain(errors, f"{section}.{key}", "must be a percentage above 0% and below 100%")
    requests = policy["judge"]["minimumRequests"]
    if not isinstance(requests, int) or requests < 1:
        _complain(errors, "judge.minimumRequests", "must be a whole number from 1 on")
    _steps(errors, policy["canary"]["steps"])
    for number, item in enumerate(policy["predecessors"]):
        _predecessor(errors, f"predecessors.{number}", item, name)
    for number, item in enumerate(policy["freeze"]):
        _freeze(errors, f"freeze.{number}", item)
    return errors


def _complain(errors: Errors, field: str, complaint: str) -> None:
    errors.setdefault(field, []).append(complaint)


def _duration(errors: Errors, field: str, value: object) -> timedelta | None:
    try:
        return parse_duration(value)
    except ValueError as error:
        _complain(errors, field, str(error))
        return None


def _share(value: object) -> float | None:
    """Of `0.5%`; None for what is no share strictly between none and all."""
    try:
        share = float(value[:-1]) if isinstance(value, str) and value.endswith("%") else 0.0
    except ValueError:
        return None
    return share if 0 < share < 100 else None


def _steps(errors: Errors, steps: list[Any]) -> None:
    try:
        amounts = [parse_amount(step) for step in steps]
    except ValueError as error:
        return _complain(errors, "canary.steps", f"each {error}")
    shares = [amount.value for amount in amounts]
    if not all(amount.percent for amount in amounts):
        return _complain(errors, "canary.steps", "must be percentages")
    if shares != sorted(set(shares)) or not shares or shares[0] == 0 or shares[-1] != 100:
        return _complain(errors, "canary.steps", "must grow from step to step, and end with 100%")
    return None


def _predecessor(errors: Errors, field: str, item: Mapping[str, Any], name: str) -> None:
    _unknown(errors, field, item, ("environment", "atLeast"))
    environment = item.get("environment")
    if not isinstance(environment, str):
        _complain(errors, f"{field}.environment", "must name an environment")
    elif environment.lower() == name.lower():
        _complain(errors, f"{field}.environment", "cannot come before itself")
    if "atLeast" in item:
        _duration(errors, f"{field}.atLeast", item["atLeast"])


def _freeze(errors: Errors, field: str, item: Mapping[str, Any]) -> None:
    _unknown(errors, field, item, ("rrule", "timezone", "duration"))
    try:
        # RFC 5545, 3.3.10. An endless rule is not unrolled here.
        rrulestr(str(item.get("rrule")), dtstart=_SOME_DAY)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        _complain(errors, f"{field}.rrule", "must be a recurrence rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=FR")
    try:
        ZoneInfo(str(item.get("timezone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _complain(errors, f"{field}.timezone", "must be a time zone such as Europe/Berlin")
    if _duration(errors, f"{field}.duration", item.get("duration")) == timedelta():
        _complain(errors, f"{field}.duration", "must be longer than zero")


def _unknown(errors: Errors, field: str, item: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in sorted(item.keys() - set(known)):
        _complain(errors, f"{field}.{key[:60]}", "is not a field")
