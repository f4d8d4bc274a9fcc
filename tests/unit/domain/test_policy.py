"""The policy of an environment: read whole, every bad field named, and the same again after it was shown."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.durations import Amount
from app.domain.errors import Invalid
from app.domain.findings import ScanException, ScanPolicy, StopAt
from app.domain.policy import (
    Approvals,
    BuildNetwork,
    OnNodeLost,
    OnPausedTimeout,
    Overtaken,
    Policy,
    Rolling,
    StrategyKind,
    UnavailableNodes,
    parse_policy,
)

SHOWN: dict[str, Any] = {
    "strategy": "rolling",
    "maxConcurrentNodes": 10,
    "unavailableAfter": "10s",
    "nodeLostAfter": "2m",
    "unavailableNodes": "skip",
    "maxUnavailableAtStart": "20%",
    "maxFailedNodes": 0,
    "onNodeLost": "abort",
    "rolling": {"batch": "25%", "minInService": None},
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
    "approvals": {"required": 0, "roles": ["Approver"], "fourEyes": False, "timeout": "24h"},
    "scan": {"stopAt": "high", "osvData": "optional", "exceptions": [], "licences": {"refused": []}},
    "build": {"network": "none"},
    "supersede": False,
    "overtaken": "supersede",
    "pausedTimeout": "24h",
    "onPausedTimeout": "rollback",
    "allowDowngrade": True,
    "predecessors": [],
    "freeze": [],
    "locked": [],
}


def errors(body: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refusal:
        parse_policy(body)
    assert refusal.value.errors
    return refusal.value.errors


def test_nothing_given_is_the_defaults_of_the_contract() -> None:
    assert parse_policy({}) == Policy()
    assert Policy().to_json() == SHOWN
    assert list(Policy().to_json()) == list(SHOWN)


def test_what_is_shown_is_what_is_read() -> None:
    assert parse_policy(SHOWN) == Policy()


def test_every_field_is_read() -> None:
    policy = parse_policy(
        {
            "strategy": "CANARY",
            "maxConcurrentNodes": 3,
            "unavailableAfter": "11s",
            "nodeLostAfter": "3m",
            "unavailableNodes": "Wait",
            "maxUnavailableAtStart": 2,
            "maxFailedNodes": 4,
            "onNodeLost": "pause",
            "rolling": {"batch": 2, "minInService": "50%"},
            "canary": {"by": "traffic"},
            "blueGreen": {"keepWarm": "11m"},
            "judge": {"minimumRequests": 100},
            "approvals": {"required": 1, "roles": ["Admin"], "fourEyes": True, "timeout": "1h"},
            "scan": {
                "stopAt": "medium",
                "exceptions": [
                    {"name": "old", "rule": "osv.CVE-1", "reason": "not reached", "until": "2027-01-31"},
                ],
            },
            "build": {"network": "allowed"},
            "supersede": True,
            "overtaken": "run",
            "pausedTimeout": "1h",
            "onPausedTimeout": "resume",
            "allowDowngrade": False,
            "predecessors": [{"environment": "Staging", "atLeast": "1h"}],
            "freeze": [{"rrule": "FREQ=DAILY"}],
            "locked": ["strategy", "scan"],
        }
    )
    assert policy == Policy(
        strategy=StrategyKind.CANARY,
        max_concurrent_nodes=3,
        unavailable_after=timedelta(seconds=11),
        node_lost_after=timedelta(minutes=3),
        unavailable_nodes=UnavailableNodes.WAIT,
        max_unavailable_at_start=Amount(2, percent=False),
        max_failed_nodes=4,
        on_node_lost=OnNodeLost.PAUSE,
        rolling=Rolling(Amount(2, percent=False), Amount(50, percent=True)),
        approvals=Approvals(1, ("Admin",), True, timedelta(hours=1)),
        scan=ScanPolicy(
            StopAt.MEDIUM, exceptions=(ScanException("old", "osv.CVE-1", "not reached", date(2027, 1, 31)),)
        ),
        build_network=BuildNetwork.ALLOWED,
        supersede=True,
        overtaken=Overtaken.RUN,
        paused_timeout=timedelta(hours=1),
        on_paused_timeout=OnPausedTimeout.RESUME,
        allow_downgrade=False,
        locked=("strategy", "scan"),
        later={
            "canary": {"by": "traffic"},
            "blueGreen": {"keepWarm": "11m"},
            "judge": {"minimumRequests": 100},
            "predecessors": [{"environment": "Staging", "atLeast": "1h"}],
            "freeze": [{"rrule": "FREQ=DAILY"}],
        },
    )
    assert policy.to_json()["canary"] == {"steps": ["5%", "20%", "50%", "100%"], "by": "traffic"}
    assert policy.to_json()["predecessors"] == [{"environment": "Staging", "atLeast": "1h"}]
    assert parse_policy(policy.to_json()) == policy


BAD: dict[Any, Any] = {
    "strategy": "blue",
    "maxConcurrentNodes": 0,
    "unavailableAfter": "soon",
    "nodeLostAfter": -1,
    "unavailableNodes": 1,
    "maxUnavailableAtStart": "200%",
    "maxFailedNodes": True,
    "onNodeLost": "retry",
    "rolling": {"batch": "x", "minInService": -1, "size": 1},
    "canary": {"steps": "5%", "by": None, "colour": 1},
    "blueGreen": [],
    "judge": {"margins": 5},
    "approvals": {"required": 101, "roles": ["King"], "fourEyes": "yes", "timeout": "x", "who": 1},
    "scan": {"exceptions": {}},
    "build": {"network": True},
    "supersede": 1,
    "overtaken": "win",
    "pausedTimeout": "never",
    "onPausedTimeout": "stop",
    "allowDowngrade": "no",
    "predecessors": ["Staging"],
    "freeze": {},
    "locked": "strategy",
    "stratgey": "direct",
    5: 6,
}


def test_every_bad_field_is_named_at_once() -> None:
    assert errors(BAD) == {
        "strategy": ["must be one of direct, rolling, blueGreen, canary"],
        "maxConcurrentNodes": ["must be a whole number from 1 to 1000"],
        "unavailableAfter": ["must be a duration such as 90s, 5m or 2h"],
        "nodeLostAfter": ["must be a duration between 0 and ten years"],
        "unavailableNodes": ["must be one of skip, wait, fail"],
        "maxUnavailableAtStart": ["must be a number of nodes or a percentage from 0% to 100%"],
        "maxFailedNodes": ["must be a whole number from 0 to 100000"],
        "onNodeLost": ["must be one of abort, continue, pause"],
        "rolling.batch": ["must be a number of nodes or a percentage from 0% to 100%"],
        "rolling.minInService": ["must be a number of nodes or a percentage from 0% to 100%"],
        "rolling.size": ["is not a field"],
        "canary.steps": ["must look like ['5%', '20%', '50%', '100%']"],
        "canary.by": ["must look like 'nodes'"],
        "canary.colour": ["is not a field"],
        "blueGreen": ["must be a mapping"],
        "judge.margins": ["must look like {'errorRatio': 1.5, 'errorPoints': 0.5, 'latencyPercent': 20}"],
        "approvals.required": ["must be a whole number from 0 to 100"],
        "approvals.roles": ["knows no role 'King'; there are Viewer, Deployer, Approver, Admin"],
        "approvals.fourEyes": ["must be true or false"],
        "approvals.timeout": ["must be a duration such as 90s, 5m or 2h"],
        "approvals.who": ["is not a field"],
        "scan.exceptions": ["must be a list of at most 500 exceptions"],
        "build.network": ["must be one of none, allowed"],
        "supersede": ["must be true or false"],
        "overtaken": ["must be one of supersede, run"],
        "pausedTimeout": ["must be a duration such as 90s, 5m or 2h"],
        "onPausedTimeout": ["must be one of rollback, resume"],
        "allowDowngrade": ["must be true or false"],
        "predecessors": ["must be a list of mappings"],
        "freeze": ["must be a list of mappings"],
        "locked": ["must be a list of words"],
        "stratgey": ["is not a field; did you mean strategy?"],
        "a key of type int": ["is not a field"],
    }


def test_the_refusal_is_one_sentence_too() -> None:
    with pytest.raises(Invalid, match=r"^strategy: must be one of .*; supersede: must be true or false$"):
        parse_policy({"strategy": 1, "supersede": 1})


@pytest.mark.parametrize("body", [None, [], "rolling", 5, [["strategy", "direct"]]])
def test_what_is_no_mapping_is_refused(body: Any) -> None:
    assert errors(body) == {"": ["must be a mapping"]}


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"nodeLostAfter": "9s"}, "nodeLostAfter", "must not be shorter than unavailableAfter"),
        ({"unavailableAfter": 0}, "unavailableAfter", "must be longer than zero"),
        ({"pausedTimeout": "0s"}, "pausedTimeout", "must be longer than zero"),
        ({"approvals": {"timeout": 0}}, "approvals.timeout", "must be longer than zero"),
        ({"rolling": {"batch": 0}}, "rolling.batch", "must be at least one node"),
        ({"rolling": {"batch": "0%"}}, "rolling.batch", "must be at least one node"),
        ({"rolling": {"minInService": "100%"}}, "rolling.minInService", "of 100% leaves no node that may be changed"),
        ({"approvals": {"required": 1, "roles": []}}, "approvals.roles", "must name a role"),
        ({"approvals": {"required": 0, "roles": []}}, "approvals.roles", "must name a role"),
        ({"approvals": {"roles": []}}, "approvals.roles", "must name a role"),
        ({"locked": ["strategy", "name"]}, "locked", "knows no field 'name'"),
        ({"locked": ["x" * 200]}, "locked", f"knows no field '{'x' * 79}…'"),
        ({"x" * 200: 1}, "x" * 79 + "…", "is not a field"),
    ],
)
def test_contradictions_are_named(body: dict[str, Any], field: str, message: str) -> None:
    assert errors(body) == {field: [message]}


@pytest.mark.parametrize(
    "body",
    [
        {"nodeLostAfter": "10s"},
        {"rolling": {"minInService": 100}},
        {"rolling": {"minInService": "99%"}},
        {"rolling": {"batch": 1}},
        {"approvals": {"roles": ["Viewer"]}},
        {"maxConcurrentNodes": 1},
        {"maxConcurrentNodes": 1000},
        {"maxFailedNodes": 100_000},
        {"approvals": {"required": 100}},
        {"rolling": None, "approvals": None, "freeze": None, "locked": None, "strategy": None},
    ],
)
def test_what_is_at_the_edge_is_allowed(body: dict[str, Any]) -> None:
    policy = parse_policy(body)
    assert parse_policy(policy.to_json()) == policy


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "a\0b",
        "\ud800",
        "x" * 1001,
        deep(8),
        {"a\0": 1},
        {"\udfff": 1},
        {1: 2},
        [1] * 1001,
        float("nan"),
        1e15,
        object(),
    ],
)
def test_what_the_database_cannot_keep_is_refused(value: Any) -> None:
    assert errors({"freeze": [{"x": value}]}) == {"freeze": ["must be a list of mappings"]}


@pytest.mark.parametrize("value", ["x" * 1000, deep(4), [1] * 1000, 1e14, -1e14, True, None, {"a": {"b": [1.5]}}])
def test_what_it_can_keep_is_kept(value: Any) -> None:
    policy = parse_policy({"freeze": [{"x": value}]})
    assert json.loads(json.dumps(policy.to_json()))["freeze"] == [{"x": value}]


def test_a_number_for_a_number_or_a_word_will_do() -> None:
    assert parse_policy({"judge": {"minimumRequests": "many"}}).later == {"judge": {"minimumRequests": "many"}}
    assert errors({"judge": {"minimumRequests": True}}) == {"judge.minimumRequests": ["must look like 200"]}
    assert errors({"judge": {"minimumRequests": [1]}}) == {"judge.minimumRequests": ["must look like 200"]}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.none().map(lambda _none: 10**5000)
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["9" * 5000 + ".0:0:0", "1" * 5000 + "s", "٣s", "²%", "direct", "25%", "\ud800"])
)
KEYS = st.sampled_from([*SHOWN, "batch", "minInService", "roles", "timeout", "steps", "margins", "x"]) | SCALARS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
def test_only_invalid_escapes_and_what_passes_can_be_shown_and_read_again(body: Any) -> None:
    try:
        policy = parse_policy(body)
    except Invalid as refusal:
        assert refusal.errors
        assert all(messages for messages in refusal.errors.values())
    else:
        shown = json.loads(json.dumps(policy.to_json(), allow_nan=False))
        assert parse_policy(shown) == policy


AMOUNTS = st.integers(1, 100).map(lambda value: f"{value}%") | st.integers(1, 10**5)
DURATIONS = st.integers(10_000, 10**10).map(lambda value: f"{value}ms")
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(list(StrategyKind)).map(str),
        "maxConcurrentNodes": st.integers(1, 1000),
        "unavailableAfter": st.just("10s"),
        "nodeLostAfter": DURATIONS,
        "unavailableNodes": st.sampled_from(list(UnavailableNodes)).map(str),
        "maxUnavailableAtStart": AMOUNTS,
        "maxFailedNodes": st.integers(0, 10**5),
        "onNodeLost": st.sampled_from(list(OnNodeLost)).map(str),
        "rolling": st.fixed_dictionaries(
            {}, optional={"batch": AMOUNTS, "minInService": st.none() | st.integers(0, 99)}
        ),
        "approvals": st.fixed_dictionaries({}, optional={"required": st.integers(0, 100), "fourEyes": st.booleans()}),
        "supersede": st.booleans(),
        "overtaken": st.sampled_from(list(Overtaken)).map(str),
        "pausedTimeout": DURATIONS,
        "onPausedTimeout": st.sampled_from(list(OnPausedTimeout)).map(str),
        "allowDowngrade": st.booleans(),
        "locked": st.lists(st.sampled_from(list(SHOWN)), max_size=3),
    },
)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(POLICIES)
def test_a_good_policy_is_the_same_after_the_round_trip(body: dict[str, Any]) -> None:
    policy = parse_policy(body)
    assert parse_policy(policy.to_json()) == policy
    shown = policy.to_json()
    for key, value in body.items():
        if isinstance(value, bool | int) or key in ("strategy", "overtaken", "locked", "unavailableNodes"):
            assert shown[key] == value
