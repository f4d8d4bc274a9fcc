"""Rolling: waves of `rolling.batch` nodes, each begun when the one before has ended."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.domain.policy import Policy


def waves(nodes: Sequence[UUID], policy: Policy) -> tuple[tuple[UUID, ...], ...]:
    size = max(1, policy.rolling.batch.of(len(nodes)))
    return tuple(tuple(nodes[start : start + size]) for start in range(0, len(nodes), size))
