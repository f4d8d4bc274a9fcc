"""Roles, each including those before it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "Viewer"
    DEPLOYER = "Deployer"
    APPROVER = "Approver"
    ADMIN = "Admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def granted_by(self, roles: Iterable[str]) -> bool:
        """Whether somebody with `roles` has this one. Names that are no role grant nothing."""
        return any(role.rank >= self.rank for role in Role if role.value in set(roles))
