"""What may be asked, and how an end is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.planner import describe, make_plan
from app.infrastructure.sandbox.spec import Limit, Limits, Network, SandboxOutcome, SandboxSpec, signal_name

SPEC = SandboxSpec(command=("make",), workspace=Path("/var/tmp/work"))
ISOLATION = describe(make_plan(Capabilities(seccomp=True), SPEC), Network.NONE)
OUTCOME = SandboxOutcome(0, None, None, 1.25, 0.5, None, 0, 0, ISOLATION)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": ()},
        {"command": ("",)},
        {"command": ("a\0b",)},
        {"command": ("half \ud800",)},
        {"environment": {"A=B": "c"}},
        {"environment": {"": "c"}},
        {"environment": {"A": "c\0"}},
        {"workspace": Path("relative")},
        {"readable": (Path("relative"),)},
        {"folder": "/etc"},
        {"folder": "../.."},
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(SPEC, **changes)


@pytest.mark.parametrize("name", [field for field in Limits.__slots__ if field != "grace_seconds"])
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_limits_are_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "ended with exit code 0 after 1.2 s"),
        ({"exit_code": None, "signal": 11}, "ended by SIGSEGV after 1.2 s"),
        ({"exit_code": None, "signal": 50}, "ended by signal 50 after 1.2 s"),
        ({"limit": Limit.DISK}, "ended after 1.2 s: its limit of disk was reached"),
        ({"limit": Limit.CANCELLED}, "cancelled after 1.2 s"),
    ],
)
def test_how_it_ended_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert replace(OUTCOME, **changes).sentence() == sentence


def test_success_is_exit_code_0_within_all_limits() -> None:
    assert OUTCOME.succeeded
    assert not replace(OUTCOME, exit_code=1).succeeded
    assert not replace(OUTCOME, exit_code=None, signal=9).succeeded
    assert not replace(OUTCOME, limit=Limit.DISK).succeeded
    assert signal_name(9) == "SIGKILL"


def test_names_that_are_not_utf_8_are_fine() -> None:
    assert replace(SPEC, command=("make", os.fsdecode(b"\xff"))).command[1] == "\udcff"
