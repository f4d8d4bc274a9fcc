"""How a strategy cuts a cluster into waves: one module per strategy."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.domain.policy import Policy, StrategyKind
from app.domain.strategies import direct, rolling

Waves = tuple[tuple[UUID, ...], ...]

BUILT = {StrategyKind.DIRECT: direct.waves, StrategyKind.ROLLING: rolling.waves}


def waves(strategy: StrategyKind, nodes: Sequence[UUID], policy: Policy) -> Waves:
    """Ordered, disjoint waves that together hold every node once. KeyError for a strategy that is not built yet."""
    return BUILT[strategy](nodes, policy)
