"""The order of versions in each ecosystem, as far as the OSV schema needs it. Pure."""

from __future__ import annotations

import re
from typing import Any, Protocol

from packaging.version import InvalidVersion
from packaging.version import Version as PythonVersion
from semver import Version as SemanticVersion

from app.domain.components import Ecosystem
from app.infrastructure.osv.maven_order import MavenVersion

# Longer versions do not exist; what reads them would take long.
_LONGEST = 256
_SHORTENED = re.compile(r"(\d+)(?:\.(\d+))?(?=$|[-+])")


class NotComparable(ValueError):
    """A text that is no version of its ecosystem."""


class Ordered(Protocol):
    """What versions of one kind have in common; `Any` since only those of one kind are compared."""

    def __lt__(self, other: Any, /) -> bool: ...


def ordered(ecosystem: Ecosystem, version: str) -> Ordered:
    """Raises NotComparable."""
    if ecosystem is Ecosystem.NPM:
        return semantic(version)
    _refuse_long(version)
    if ecosystem is Ecosystem.MAVEN:
        return MavenVersion(version)
    try:
        return PythonVersion(version)
    except InvalidVersion as error:
        raise NotComparable(version) from error


def semantic(version: str) -> Ordered:
    """A version by semver.org 2.0; `1` and `1.2`, which some entries have, mean `1.0.0` and `1.2.0`; a `v` before it is
    nothing. Its build metadata does not count. Raises NotComparable."""
    _refuse_long(version)
    text = version.strip().removeprefix("v")
    text = _SHORTENED.sub(lambda short: f"{short[1]}.{short[2] or 0}.0", text) if _SHORTENED.match(text) else text
    try:
        return SemanticVersion.parse(text)
    except ValueError as error:
        raise NotComparable(version[:80]) from error


def _refuse_long(version: str) -> None:
    if len(version) > _LONGEST:
        raise NotComparable(version[:80])
