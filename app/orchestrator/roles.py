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


def highest(roles: Iterable[str]) -> Role | None:
    """The one that includes all others of `roles`; None for nobody who may anything."""
    given = set(roles)
    return max((role for role in Role if role.value in given), key=lambda role: role.rank, default=None)


def smaller(one: Iterable[str], other: Iterable[str]) -> frozenset[str]:
    """The roles of who may only what both may."""
    first, second = highest(one), highest(other)
    if first is None or second is None:
        return frozenset()
    return frozenset({min(first, second, key=lambda role: role.rank).value})


def ordered(roles: Iterable[str]) -> list[str]:
    """Each once, the least first."""
    given = set(roles)
    return [role.value for role in Role if role.value in given]
