"""The breaker of a node: opens after failures in a row, lets a probe through, closes with an answer."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from app.infrastructure import node_breaker
from app.infrastructure.node_breaker import MOST_FAILURES, NodeBreaker


def _failing(times: int) -> NodeBreaker:
    breaker = NodeBreaker(uuid4())
    for _ in range(times):
        breaker.failed(OSError("no answer"))
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert not _failing(MOST_FAILURES - 1).refuses()
    assert _failing(MOST_FAILURES).refuses()


def test_an_answer_starts_the_count_anew() -> None:
    breaker = _failing(MOST_FAILURES - 1)
    breaker.answered()
    breaker.failed(OSError("no answer"))
    assert not breaker.refuses()


def test_an_answer_closes_it() -> None:
    breaker = _failing(MOST_FAILURES + 3)
    breaker.answered()
    assert not breaker.refuses()


def test_after_a_while_the_next_call_is_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = _failing(MOST_FAILURES)
    monkeypatch.setattr(node_breaker, "OPEN_FOR", 0.0)
    assert not breaker.refuses()


def test_breakers_that_are_not_closed_are_counted() -> None:
    def standing(state: str) -> float:
        return REGISTRY.get_sample_value("hotswap_breakers", {"state": state}) or 0.0

    before = standing("open")
    first, second = NodeBreaker(uuid4()), NodeBreaker(uuid4())
    for _ in range(MOST_FAILURES + 2):
        first.failed(OSError("no answer"))
    second.failed(OSError("once"))
    assert standing("open") == before + 1
    first.answered()
    assert (standing("open"), standing("half-open")) == (before, 0.0)
