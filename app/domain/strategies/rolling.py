"""Rolling: waves of `rolling.batch` nodes, each begun when the one before has ended."""

from __future__ import annotations

from app.domain.policy import Policy


def wave_size(nodes: int, policy: Policy) -> int:
    return max(1, policy.rolling.batch.of(nodes))
