"""What one module overrides of an environment's policy, and the policy that comes of it. Pure.

Overrides are kept as fields of the policy, sections merged field by field, lists and all else taken whole. A field that
the environment locks cannot be overridden; an override from before the lock stays where it is and counts for nothing
until the lock is gone. What comes of it is always checked whole, like an environment's own policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import Invalid
from app.domain.policy import Policy, parse_policy

LOCKED = "locked"
# Null is a value of this field, and of no other.
_NULLABLE = ("rolling.minInService",)


@dataclass(frozen=True, slots=True)
class Effective:
    """The policy that holds for a module in an environment. `ignored` names overrides of fields that are locked now."""

    policy: Policy
    ignored: tuple[str, ...] = ()


def effective(environment: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> Effective:
    """What holds of an environment's stored policy and a module's stored overrides (None or empty: none).

    Raises Invalid where the two contradict each other.
    """
    if not overrides:
        return Effective(parse_policy(environment))
    locked = frozenset(environment.get(LOCKED, ()))
    counting = {name: value for name, value in overrides.items() if name not in locked}
    return Effective(parse_policy(_merged(environment, counting)), tuple(sorted(overrides.keys() & locked)))


def parse_overrides(environment: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides as they are kept, from what somebody sent, checked together with the environment's policy.

    Raises Invalid, naming every bad field: unknown, malformed, locked, and what contradicts the rest of the policy.
    """
    errors: dict[str, list[str]] = {}
    locked = frozenset(environment.get(LOCKED, ()))
    for name in body:
        if name == LOCKED:
            errors[name] = ["belongs to the environment: a module cannot override it"]
        elif name in locked:
            errors[name] = ["is locked by the environment's policy"]
    for path in _nulls(body):
        errors.setdefault(path, []).append("must have a value; leave it out to keep the environment's")
    refused = {path.partition(".")[0] for path in errors}
    asked = {name: value for name, value in body.items() if name not in refused}
    shown: Mapping[str, Any] = {}
    try:
        shown = parse_policy(_merged(environment, asked)).to_json()
    except Invalid as invalid:
        errors.update(invalid.errors)
    if errors:
        raise Invalid(errors)
    return _chosen(shown, asked)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = base.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _chosen(shown: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of the policy as it is shown, what was asked for: written the way in which policies are written."""
    chosen: dict[str, Any] = {}
    for name, value in asked.items():
        if isinstance(shown[name], Mapping) and isinstance(value, Mapping):
            inner = _chosen(shown[name], value)
            if inner:
                chosen[name] = inner
        else:
            chosen[name] = shown[name]
    return chosen


def _nulls(body: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in body.items():
        path = f"{prefix}{name}"
        if value is None and path not in _NULLABLE:
            yield path
        elif isinstance(value, Mapping) and prefix.count(".") < 2:
            yield from _nulls(value, f"{path}.")
