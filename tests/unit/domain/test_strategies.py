"""How strategies cut a cluster into waves."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.durations import Amount
from app.domain.policy import Policy, Rolling, StrategyKind
from app.domain.strategies import wave_size, waves

DIRECT, ROLLING = StrategyKind.DIRECT, StrategyKind.ROLLING


@pytest.mark.parametrize(("nodes", "size"), [(0, 1), (1, 1), (2, 2), (100, 100)])
def test_direct_is_one_wave_of_all(nodes: int, size: int) -> None:
    assert wave_size(DIRECT, nodes, Policy()) == size


@pytest.mark.parametrize(("nodes", "size"), [(0, 1), (1, 1), (4, 1), (5, 2), (100, 25)])
def test_rolling_is_a_batch_and_at_least_one(nodes: int, size: int) -> None:
    assert wave_size(ROLLING, nodes, Policy()) == size


def test_what_is_not_built_yet_is_no_strategy() -> None:
    with pytest.raises(KeyError):
        waves(StrategyKind.CANARY, [], Policy())


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    count=st.integers(0, 60),
    batch=st.builds(Amount, st.integers(1, 100), st.booleans()),
    strategy=st.sampled_from([DIRECT, ROLLING]),
)
def test_waves_hold_every_node_once_and_in_order(count: int, batch: Amount, strategy: StrategyKind) -> None:
    policy, nodes = Policy(rolling=Rolling(batch)), [UUID(int=number) for number in range(count)]
    planned = waves(strategy, nodes, policy)
    assert [node for wave in planned for node in wave] == nodes
    assert all(1 <= len(wave) <= wave_size(strategy, count, policy) for wave in planned)
