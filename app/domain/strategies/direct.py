"""Direct: every node in one wave; the window alone bounds how many change at a time."""

from __future__ import annotations

from app.domain.policy import Policy


def wave_size(nodes: int, _policy: Policy) -> int:
    return max(1, nodes)
