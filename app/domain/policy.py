"""The policy of an environment: a whole, checked value. API.md, "The policy of an environment", is its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.domain.durations import Amount, short_duration
from app.domain.field_reader import FieldReader, shortened
from app.domain.findings import ScanPolicy, read_scan_policy, scan_policy_json

A_QUARTER = Amount(25, percent=True)
A_FIFTH = Amount(20, percent=True)
ROLES = ("Viewer", "Deployer", "Approver", "Admin")


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


class BuildNetwork(StrEnum):
    """Whether what a release's build and tests run may reach the network."""

    NONE = "none"
    ALLOWED = "allowed"


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
    (canary, blueGreen, judge, predecessors, freeze), so that they are stored and shown.
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
    scan: ScanPolicy = field(default_factory=ScanPolicy)
    build_network: BuildNetwork = BuildNetwork.NONE
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
        body |= {
            "scan": scan_policy_json(self.scan),
            "build": {"network": self.build_network.value},
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
}
_LATER_LISTS = ("predecessors", "freeze")


def parse_policy(body: Mapping[str, Any]) -> Policy:
    """Check a policy whole.

    Raises Invalid, naming every bad field: unknown keys, wrong types, and contradictions between fields.
    """
    reader = FieldReader(body, "")
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
        scan=read_scan_policy(reader.section("scan")),
        build_network=_build_network(reader.section("build")),
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


def _rolling(reader: FieldReader) -> Rolling:
    batch = reader.amount("batch", A_QUARTER)
    if batch.value == 0:
        reader.complain("batch", "must be at least one node")
    minimum = None if reader.absent("minInService") else reader.amount("minInService", Amount(0, percent=False))
    reader.unknown_keys()
    return Rolling(batch, minimum)


def _approvals(reader: FieldReader) -> Approvals:
    approvals = Approvals(
        required=reader.number("required", 0, 0, 100),
        roles=reader.words("roles", ("Approver",)),
        four_eyes=reader.flag("fourEyes", default=False),
        timeout=reader.duration("timeout", timedelta(hours=24)),
    )
    for role in approvals.roles:
        if role not in ROLES:
            reader.complain("roles", f"knows no role {shortened(role)!r}; there are {', '.join(ROLES)}")
    reader.unknown_keys()
    return approvals


def _build_network(reader: FieldReader) -> BuildNetwork:
    network = reader.word("network", BuildNetwork, BuildNetwork.NONE)
    reader.unknown_keys()
    return network


def _later(reader: FieldReader) -> dict[str, Any]:
    """What differs from the defaults in the sections of later parts: checked for shape, kept as given."""
    kept: dict[str, Any] = {}
    for name, defaults in _LATER_DEFAULTS.items():
        section = reader.section(name)
        given = {key: section.take(key) for key in defaults if key in section.body}
        for key, value in given.items():
            if not _alike(value, defaults[key]):
                section.complain(key, f"must look like {defaults[key]!r}")
        section.unknown_keys()
        changed = {key: value for key, value in given.items() if value != defaults[key]}
        if changed:
            kept[name] = changed
    for name in _LATER_LISTS:
        value = reader.take(name)
        if value is not None and not (_alike(value, []) and all(isinstance(item, dict) for item in value)):
            reader.complain(name, "must be a list of mappings")
        elif value:
            kept[name] = value
    return kept


def _alike(value: object, default: object) -> bool:
    """Whether a value has the shape of the default: a list, a mapping, or a scalar; and can be kept as JSON."""
    for shape in (list, dict):
        if isinstance(default, shape):
            return isinstance(value, shape) and _keepable(value)
    return isinstance(value, int | float | str) and not isinstance(value, bool) and _keepable(value)


def _keepable(value: object, depth: int = 0) -> bool:
    """Whether PostgreSQL's jsonb takes it: finite numbers, text without NUL or lone surrogates, no endless nesting."""
    if isinstance(value, str):
        return len(value) <= 1000 and "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, list):
        return len(value) <= 1000 and depth < 8 and all(_keepable(item, depth + 1) for item in value)
    if isinstance(value, dict):
        fits = len(value) <= 1000 and depth < 8
        return fits and all(isinstance(key, str) and _keepable([key, item], depth + 1) for key, item in value.items())
    return value is None or (isinstance(value, int | float) and abs(value) < 1e15)


def _contradictions(policy: Policy, reader: FieldReader) -> None:
    if policy.node_lost_after < policy.unavailable_after:
        reader.complain("nodeLostAfter", "must not be shorter than unavailableAfter")
    for name, span in (
        ("unavailableAfter", policy.unavailable_after),
        ("pausedTimeout", policy.paused_timeout),
        ("approvals.timeout", policy.approvals.timeout),
    ):
        if not span:
            reader.complain(name, "must be longer than zero")
    minimum = policy.rolling.min_in_service
    if minimum is not None and minimum.percent and minimum.value == 100:
        reader.complain("rolling.minInService", "of 100% leaves no node that may be changed")
    # Also where none is required: a request can ask for one, and then somebody must be able to say no.
    if not policy.approvals.roles:
        reader.complain("approvals.roles", "must name a role")
    known = set(Policy().to_json())
    for name in policy.locked:
        if name not in known:
            reader.complain("locked", f"knows no field {shortened(name)!r}")
