"""What a module overrides, and what comes of it: the environment's policy stays, locks win, nothing contradicts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.durations import Amount
from app.domain.errors import Invalid
from app.domain.module_policy import effective, parse_overrides
from app.domain.policy import Policy, StrategyKind, parse_policy

QA = parse_policy({"maxFailedNodes": 1, "rolling": {"batch": "50%", "minInService": 2}}).to_json()


def locking(*names: str) -> dict[str, Any]:
    return {**QA, "locked": list(names)}


def refused(environment: dict[str, Any], body: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refusal:
        parse_overrides(environment, body)
    return refusal.value.errors


def test_without_overrides_the_environments_policy_holds() -> None:
    nothing: dict[str, Any] | None
    for nothing in (None, {}):
        found = effective(QA, nothing)
        assert found.policy == parse_policy(QA)
        assert found.ignored == ()


def test_sections_are_merged_and_all_else_is_taken_whole() -> None:
    environment = {**QA, "scan": {"stopAt": "high", "osvData": "optional", "exceptions": []}}
    overrides = parse_overrides(
        environment,
        {
            "strategy": "DIRECT",
            "rolling": {"batch": "10%"},
            "nodeLostAfter": "00:03:00",
            "approvals": {"roles": ["Admin"]},
            "judge": {"margins": {"errorRatio": 3}},
        },
    )
    # As policies are written, and no more than was given.
    assert overrides == {
        "strategy": "direct",
        "rolling": {"batch": "10%"},
        "nodeLostAfter": "3m",
        "approvals": {"roles": ["Admin"]},
        "judge": {"margins": {"errorRatio": 3}},
    }
    policy = effective(environment, overrides).policy
    assert (policy.strategy, policy.max_failed_nodes) == (StrategyKind.DIRECT, 1)
    assert policy.rolling.batch == Amount(10, percent=True)
    assert policy.rolling.min_in_service == Amount(2, percent=False)
    assert policy.approvals.roles == ("Admin",)
    assert policy.to_json()["judge"]["margins"] == {"errorRatio": 3, "errorPoints": 0.5, "latencyPercent": 20}


def test_null_is_a_value_of_one_field_only() -> None:
    overrides = parse_overrides(QA, {"rolling": {"minInService": None}})
    assert overrides == {"rolling": {"minInService": None}}
    assert effective(QA, overrides).policy.rolling.min_in_service is None
    judge = {"margins": {"errorRatio": None}}
    errors = refused(QA, {"strategy": None, "approvals": {"required": None}, "judge": judge})
    assert errors.keys() == {"strategy", "approvals.required", "judge.margins.errorRatio"}


def test_empty_sections_override_nothing() -> None:
    assert parse_overrides(QA, {"rolling": {}, "judge": {"margins": {}}}) == {}


def test_what_cannot_be_overridden_is_named_with_all_else_that_is_wrong() -> None:
    errors = refused(
        locking("strategy", "scan"),
        {"strategy": "hope", "scan": {}, "locked": [], "typo": 1, "rolling": 5, "unavailableAfter": "1h", "name": "QA"},
    )
    assert errors.keys() == {"strategy", "scan", "locked", "typo", "rolling", "nodeLostAfter", "name"}
    assert errors["strategy"] == ["is locked by the environment's policy"]
    assert "shorter" in errors["nodeLostAfter"][0]


def test_an_override_from_before_a_lock_counts_for_nothing() -> None:
    overrides = parse_overrides(QA, {"strategy": "direct", "maxFailedNodes": 7})
    found = effective(locking("strategy", "overtaken"), overrides)
    assert found.ignored == ("strategy",)
    assert (found.policy.strategy, found.policy.max_failed_nodes) == (StrategyKind.ROLLING, 7)
    assert found.policy.locked == ("strategy", "overtaken")
    assert effective(QA, overrides).policy.strategy is StrategyKind.DIRECT


def test_a_contradiction_with_a_later_policy_is_one() -> None:
    overrides = parse_overrides(QA, {"unavailableAfter": "90s"})
    with pytest.raises(Invalid) as refusal:
        effective({**QA, "nodeLostAfter": "30s"}, overrides)
    assert refusal.value.errors.keys() == {"nodeLostAfter"}
    assert effective({**QA, "nodeLostAfter": "30s", "locked": ["unavailableAfter"]}, overrides).ignored


def test_a_policy_from_before_a_field_existed_takes_its_default() -> None:
    older = {name: value for name, value in QA.items() if name != "build"}
    overrides = parse_overrides(older, {"build": {"network": "allowed"}})
    assert overrides == {"build": {"network": "allowed"}}
    assert effective(older, overrides).policy.build_network.value == "allowed"


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(["direct", "Rolling", "BLUEGREEN"]),
        "maxFailedNodes": st.integers(0, 50),
        "rolling": st.fixed_dictionaries({}, optional={"batch": st.sampled_from(["1%", 3, "100%"])}),
        "approvals": st.fixed_dictionaries({}, optional={"required": st.integers(0, 3), "fourEyes": st.booleans()}),
        "pausedTimeout": st.sampled_from(["1h", 90, "00:02:00"]),
        "supersede": st.booleans(),
    },
)


@given(FIELDS, st.lists(st.sampled_from(list(Policy().to_json())), max_size=4))
def test_what_was_kept_is_read_as_the_same(body: dict[str, Any], locked: list[str]) -> None:
    """Kept overrides are a fixed point; under any locks the result is a policy, equal but for what is overridden."""
    overrides = parse_overrides(QA, body)
    assert parse_overrides(QA, overrides) == overrides
    assert overrides.keys() <= body.keys()
    found = effective(locking(*locked), overrides)
    shown, whole = found.policy.to_json(), effective(QA, overrides).policy.to_json()
    assert found.ignored == tuple(sorted(overrides.keys() & set(locked)))
    for name, value in shown.items():
        if name == "locked":
            continue
        assert value == (QA[name] if name in locked else whole[name])
