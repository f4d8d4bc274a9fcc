"""How a strategy cuts a cluster into waves: one module per strategy."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.domain.policy import Policy, StrategyKind
from app.domain.strategies import direct, rolling

Waves = tuple[tuple[UUID, ...], ...]

BUILT = {StrategyKind.DIRECT: direct.wave_size, StrategyKind.ROLLING: rolling.wave_size}


def wave_size(strategy: StrategyKind, nodes: int, policy: Policy) -> int:
    """How many of `nodes` nodes may stand in one wave, at least 1. KeyError for a strategy that is not built yet."""
    return BUILT[strategy](nodes, policy)


def waves(strategy: StrategyKind, nodes: Sequence[UUID], policy: Policy) -> Waves:
    """Ordered, disjoint waves that together hold every node once. KeyError for a strategy that is not built yet."""
    size = wave_size(strategy, len(nodes), policy)
    return tuple(tuple(nodes[start : start + size]) for start in range(0, len(nodes), size))
