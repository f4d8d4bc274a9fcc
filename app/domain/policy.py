"""The policy of an environment: a whole, checked value. API.md, "The policy of an environment", is its contract."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from app.domain.durations import Amount, parse_amount, parse_duration, short_duration
from app.domain.errors import Invalid

T = TypeVar("T")
A_QUARTER = Amount(25, percent=True)
A_FIFTH = Amount(20, percent=True)


class StrategyKind(StrEnum):
    DIRECT = "direct"
    ROLLING = "rolling"
    BLUE_GREEN = "blueGreen"
    CANARY = "canary"


class UnavailableNodes(StrEnum):
    SKIP = "skip"
    WAIT = "wait"
    FAIL = "fail"


class OnNodeLost(StrEnum):
    ABORT = "abort"
    CONTINUE = "continue"
    PAUSE = "pause"


class Overtaken(StrEnum):
    SUPERSEDE = "supersede"
    RUN = "run"


class OnPausedTimeout(StrEnum):
    ROLLBACK = "rollback"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Rolling:
    batch: Amount = A_QUARTER
    min_in_service: Amount | None = None


@dataclass(frozen=True, slots=True)
class Approvals:
    required: int = 0
    roles: tuple[str, ...] = ("Approver",)
    four_eyes: bool = False
    timeout: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an environment asks of every rollout. Durations are timedeltas, amounts of nodes are `Amount`.

    `later` keeps, checked for shape and as given, the sections whose features are built in later parts
    (canary, blueGreen, judge, scan, build, predecessors, freeze), so that they are stored and shown.
    """

    strategy: StrategyKind = StrategyKind.ROLLING
    max_concurrent_nodes: int = 10
    unavailable_after: timedelta = timedelta(seconds=10)
    node_lost_after: timedelta = timedelta(minutes=2)
    unavailable_nodes: UnavailableNodes = UnavailableNodes.SKIP
    max_unavailable_at_start: Amount = A_FIFTH
    max_failed_nodes: int = 0
    on_node_lost: OnNodeLost = OnNodeLost.ABORT
    rolling: Rolling = Rolling()
    approvals: Approvals = Approvals()
    supersede: bool = False
    overtaken: Overtaken = Overtaken.SUPERSEDE
    paused_timeout: timedelta = timedelta(hours=24)
    on_paused_timeout: OnPausedTimeout = OnPausedTimeout.ROLLBACK
    allow_downgrade: bool = True
    locked: tuple[str, ...] = ()
    later: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The policy as the API shows it and the database keeps it (without name and order)."""
        body: dict[str, Any] = {
            "strategy": self.strategy.value,
            "maxConcurrentNodes": self.max_concurrent_nodes,
            "unavailableAfter": short_duration(self.unavailable_after),
            "nodeLostAfter": short_duration(self.node_lost_after),
            "unavailableNodes": self.unavailable_nodes.value,
            "maxUnavailableAtStart": self.max_unavailable_at_start.to_json(),
            "maxFailedNodes": self.max_failed_nodes,
            "onNodeLost": self.on_node_lost.value,
            "rolling": {
                "batch": self.rolling.batch.to_json(),
                "minInService": self.rolling.min_in_service.to_json() if self.rolling.min_in_service else None,
            },
        }
        for name in ("canary", "blueGreen", "judge"):
            body[name] = dict(_LATER_DEFAULTS[name], **self.later.get(name, {}))
        body["approvals"] = {
            "required": self.approvals.required,
            "roles": list(self.approvals.roles),
            "fourEyes": self.approvals.four_eyes,
            "timeout": short_duration(self.approvals.timeout),
        }
        for name in ("scan", "build"):
            body[name] = dict(_LATER_DEFAULTS[name], **self.later.get(name, {}))
        body |= {
            "supersede": self.supersede,
            "overtaken": self.overtaken.value,
            "pausedTimeout": short_duration(self.paused_timeout),
            "onPausedTimeout": self.on_paused_timeout.value,
            "allowDowngrade": self.allow_downgrade,
            "predecessors": list(self.later.get("predecessors", [])),
            "freeze": list(self.later.get("freeze", [])),
            "locked": list(self.locked),
        }
        return body


_LATER_DEFAULTS: dict[str, dict[str, Any]] = {
    "canary": {"steps": ["5%", "20%", "50%", "100%"], "by": "nodes"},
    "blueGreen": {"keepWarm": "10m"},
    "judge": {
        "falseAbort": "1%",
        "falsePromote": "5%",
        "margins": {"errorRatio": 1.5, "errorPoints": 0.5, "latencyPercent": 20},
        "minimumRequests": 200,
        "warmUp": "60s",
        "maximumSoak": "15m",
        "onInconclusive": "pause",
    },
    "scan": {"stopAt": "high", "osvData": "optional", "exceptions": []},
    "build": {"network": "none"},
}
_LATER_LISTS = ("predecessors", "freeze")


def parse_policy(body: Mapping[str, Any]) -> Policy:
    """Check a policy whole.

    Raises Invalid, naming every bad field: unknown keys, wrong types, and contradictions between fields.
    """
    reader = _Reader(body, "")
    policy = Policy(
        strategy=reader.word("strategy", StrategyKind, StrategyKind.ROLLING),
        max_concurrent_nodes=reader.number("maxConcurrentNodes", 10, 1, 1000),
        unavailable_after=reader.duration("unavailableAfter", timedelta(seconds=10)),
        node_lost_after=reader.duration("nodeLostAfter", timedelta(minutes=2)),
        unavailable_nodes=reader.word("unavailableNodes", UnavailableNodes, UnavailableNodes.SKIP),
        max_unavailable_at_start=reader.amount("maxUnavailableAtStart", A_FIFTH),
        max_failed_nodes=reader.number("maxFailedNodes", 0, 0, 100_000),
        on_node_lost=reader.word("onNodeLost", OnNodeLost, OnNodeLost.ABORT),
        rolling=_rolling(reader.section("rolling")),
        approvals=_approvals(reader.section("approvals")),
        supersede=reader.flag("supersede", default=False),
        overtaken=reader.word("overtaken", Overtaken, Overtaken.SUPERSEDE),
        paused_timeout=reader.duration("pausedTimeout", timedelta(hours=24)),
        on_paused_timeout=reader.word("onPausedTimeout", OnPausedTimeout, OnPausedTimeout.ROLLBACK),
        allow_downgrade=reader.flag("allowDowngrade", default=True),
        locked=reader.words("locked", ()),
        later=_later(reader),
    )
    reader.unknown_keys()
    _contradictions(policy, reader)
    reader.finish()
    return policy


def _rolling(reader: _Reader) -> Rolling:
    batch = reader.amount("batch", A_QUARTER)
    if batch.value == 0:
        reader.complain("batch", "must be at least one node")
    minimum = None if reader.absent("minInService") else reader.amount("minInService", Amount(0, percent=False))
    reader.unknown_keys()
    return Rolling(batch, minimum)


def _approvals(reader: _Reader) -> Approvals:
    approvals = Approvals(
        required=reader.number("required", 0, 0, 100),
        roles=reader.words("roles", ("Approver",)),
        four_eyes=reader.flag("fourEyes", default=False),
        timeout=reader.duration("timeout", timedelta(hours=24)),
    )
    for role in approvals.roles:
        if role not in ("Viewer", "Deployer", "Approver", "Admin"):
            reader.complain("roles", f"knows no role {role!r}")
    reader.unknown_keys()
    return approvals


def _later(reader: _Reader) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, defaults in _LATER_DEFAULTS.items():
        section = reader.section(name)
        given = {key: value for key, value in section.body.items() if key in defaults}
        for key, value in given.items():
            section.take(key)
            if type(value) is not type(defaults[key]) and not (
                isinstance(value, int | float | str) and isinstance(defaults[key], int | float | str)
            ):
                section.complain(key, f"must look like {defaults[key]!r}")
        section.unknown_keys()
        if given:
            kept[name] = given
    for name in _LATER_LISTS:
        value = reader.take(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            reader.complain(name, "must be a list of mappings")
        elif value:
            kept[name] = value
    return kept


def _contradictions(policy: Policy, reader: _Reader) -> None:
    if policy.node_lost_after < policy.unavailable_after:
        reader.complain("nodeLostAfter", "must not be shorter than unavailableAfter")
    if not policy.unavailable_after:
        reader.complain("unavailableAfter", "must be longer than zero")
    minimum = policy.rolling.min_in_service
    if minimum is not None and minimum.percent and minimum.value == 100:
        reader.complain("rolling.minInService", "of 100% leaves no node that may be changed")
    if policy.approvals.required and not policy.approvals.roles:
        reader.complain("approvals.roles", "must name a role when approvals are required")
    known = set(Policy().to_json())
    for name in policy.locked:
        if name not in known:
            reader.complain("locked", f"knows no field {name!r}")


class _Reader:
    """Takes typed values out of a mapping and collects every complaint under its dotted path."""

    def __init__(self, body: object, prefix: str, errors: dict[str, list[str]] | None = None) -> None:
        self.errors: dict[str, list[str]] = {} if errors is None else errors
        self.prefix = prefix
        self._seen: set[str] = set()
        self.body: Mapping[str, Any] = {}
        if isinstance(body, Mapping):
            self.body = body
        else:
            self.errors.setdefault(prefix.rstrip("."), []).append("must be a mapping")

    def complain(self, key: str, message: str) -> None:
        self.errors.setdefault(self.prefix + key, []).append(message)

    def absent(self, key: str) -> bool:
        return self.take(key) is None

    def take(self, key: str) -> Any:
        self._seen.add(key)
        return self.body.get(key)

    def section(self, key: str) -> _Reader:
        value = self.take(key)
        return _Reader({} if value is None else value, f"{self.prefix}{key}.", self.errors)

    def _parsed(self, key: str, default: T, parse: Callable[[Any], T]) -> T:
        value = self.take(key)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.complain(key, str(error))
            return default

    def word(self, key: str, kind: type[T], default: T) -> T:
        def parse(value: object) -> T:
            words = {str(member).lower(): member for member in kind}  # type: ignore[attr-defined]
            if not isinstance(value, str) or value.lower() not in words:
                raise ValueError("must be one of " + ", ".join(str(member) for member in words.values()))
            found: T = words[value.lower()]
            return found

        return self._parsed(key, default, parse)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        def parse(value: object) -> int:
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"must be a whole number from {least} to {most}")
            return value

        return self._parsed(key, default, parse)

    def flag(self, key: str, *, default: bool) -> bool:
        def parse(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value

        return self._parsed(key, default, parse)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        def parse(value: object) -> tuple[str, ...]:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValueError("must be a list of words")
            return tuple(value)

        return self._parsed(key, default, parse)

    def duration(self, key: str, default: timedelta) -> timedelta:
        return self._parsed(key, default, parse_duration)

    def amount(self, key: str, default: Amount) -> Amount:
        return self._parsed(key, default, parse_amount)

    def unknown_keys(self) -> None:
        for key in self.body:
            if key not in self._seen:
                near = difflib.get_close_matches(str(key), self._seen, n=1)
                self.complain(str(key), "is not a field" + (f"; did you mean {near[0]}?" if near else ""))

    def finish(self) -> None:
        if self.errors:
            raise Invalid(self.errors)
