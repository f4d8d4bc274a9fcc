"""Policies that could never be followed, in the sections that are for later."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.later_sections import contradictions
from app.domain.policy import parse_policy

FREEZE = {"rrule": "FREQ=WEEKLY;BYDAY=FR", "timezone": "Europe/Berlin", "duration": "8h"}


def complaints(**policy: Any) -> dict[str, list[str]]:
    return contradictions(parse_policy(policy).to_json(), "QA")


def test_the_defaults_and_what_makes_sense_are_fine() -> None:
    assert complaints() == {}
    assert complaints(freeze=[FREEZE], predecessors=[{"environment": "Staging", "atLeast": "1h"}]) == {}
    assert complaints(canary={"steps": ["100%"]}, judge={"falseAbort": "0.5%"}) == {}


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"canary": {"steps": ["50%", "5%"]}}, "canary.steps"),
        ({"canary": {"steps": ["5%", "5%", "100%"]}}, "canary.steps"),
        ({"canary": {"steps": ["5%", "50%"]}}, "canary.steps"),
        ({"canary": {"steps": ["x"]}}, "canary.steps"),
        ({"canary": {"steps": []}}, "canary.steps"),
        ({"canary": {"steps": [1, 2]}}, "canary.steps"),
        ({"canary": {"by": "magic"}}, "canary.by"),
        ({"judge": {"warmUp": "10m", "maximumSoak": "1m"}}, "judge.maximumSoak"),
        ({"judge": {"warmUp": "soon"}}, "judge.warmUp"),
        ({"judge": {"falseAbort": "150%"}}, "judge.falseAbort"),
        ({"judge": {"falsePromote": "x%"}}, "judge.falsePromote"),
        ({"judge": {"minimumRequests": 0}}, "judge.minimumRequests"),
        ({"judge": {"onInconclusive": "hope"}}, "judge.onInconclusive"),
        ({"blueGreen": {"keepWarm": "long"}}, "blueGreen.keepWarm"),
        ({"predecessors": [{"environment": "qa"}]}, "predecessors.0.environment"),
        ({"predecessors": [{}]}, "predecessors.0.environment"),
        ({"predecessors": [{"environment": "Staging", "atLeast": "x"}]}, "predecessors.0.atLeast"),
        ({"predecessors": [{"environment": "Staging", "colour": 1}]}, "predecessors.0.colour"),
        ({"freeze": [{**FREEZE, "rrule": "garbage"}]}, "freeze.0.rrule"),
        ({"freeze": [{**FREEZE, "rrule": "FREQ=SOMETIMES"}]}, "freeze.0.rrule"),
        ({"freeze": [{**FREEZE, "timezone": "Mars/X"}]}, "freeze.0.timezone"),
        ({"freeze": [{**FREEZE, "timezone": "../../etc/passwd"}]}, "freeze.0.timezone"),
        ({"freeze": [{**FREEZE, "duration": "0s"}]}, "freeze.0.duration"),
        ({"freeze": [{"rrule": "FREQ=DAILY"}]}, "freeze.0.duration"),
    ],
)
def test_what_contradicts_itself_is_named(policy: dict[str, Any], field: str) -> None:
    assert list(complaints(**policy)) == [field]
