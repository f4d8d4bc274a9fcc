"""Direct: every node in one wave; the window alone bounds how many change at a time."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.domain.policy import Policy


def waves(nodes: Sequence[UUID], _policy: Policy) -> tuple[tuple[UUID, ...], ...]:
    return (tuple(nodes),) if nodes else ()
