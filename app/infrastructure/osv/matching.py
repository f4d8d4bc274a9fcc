"""Whether a version is affected: the evaluation that the OSV schema describes. Pure.

What an entry says of a package is asked for many components: its versions, of which there may be thousands, are read
once (`Matcher`), and a component's only once for all entries (`ComponentVersion`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key

from app.domain.components import Component, Ecosystem
from app.infrastructure.osv.entries import Affected, EventKind, Range, RangeKind
from app.infrastructure.osv.ordering import NotComparable, Ordered, ordered, semantic

# What was before is fixed, something is introduced anew, and this version is its last.
_AT_ONE_VERSION = (EventKind.FIXED, EventKind.INTRODUCED, EventKind.LAST_AFFECTED)
_ANY = "*"


@dataclass(slots=True)
class Passed:
    """What matching had to pass over: ranges of commits, and ranges whose versions cannot be compared."""

    git_ranges: int = 0
    incomparable: int = 0


class ComponentVersion:
    """The version of a component, as it is written and as ranges of either kind compare it (None: it is no such one).
    `listed` is equal for versions that are the same one written otherwise (`1.0` and `1.0.0` on PyPI)."""

    __slots__ = ("_points", "ecosystem", "listed", "written")

    def __init__(self, component: Component) -> None:
        self.ecosystem, self.written = component.ecosystem, component.version
        own = _comparable(component.ecosystem, RangeKind.ECOSYSTEM, component.version)
        as_semantic = _comparable(component.ecosystem, RangeKind.SEMVER, component.version)
        self._points = {RangeKind.ECOSYSTEM: own, RangeKind.SEMVER: as_semantic}
        self.listed = _same_written_otherwise(component.ecosystem, component.version)

    def point(self, kind: RangeKind) -> Ordered | None:
        """Of a kind other than GIT."""
        return self._points[kind]


class Matcher:
    """What an entry says of one package."""

    __slots__ = ("_affected", "_fixes", "_git_ranges", "_listed", "_ranges")

    def __init__(self, affected: Affected) -> None:
        self._affected = affected
        self._listed = _readable(_same_written_otherwise(affected.ecosystem, each) for each in affected.versions)
        comparable = [each for each in affected.ranges if each.kind is not RangeKind.GIT]
        self._git_ranges = len(affected.ranges) - len(comparable)
        self._ranges = [_Points.of(affected.ecosystem, each) for each in comparable]
        self._fixes = _fixes(affected.ecosystem, comparable)

    def affects(self, version: ComponentVersion, passed: Passed) -> bool:
        """`version` is of a component of that package. Listed versions count as they are written, or as the same
        version written otherwise."""
        if version.written in self._affected.versions or version.listed in self._listed:
            return True
        passed.git_ranges += self._git_ranges
        for points in self._ranges:
            own = version.point(points.kind) if points is not None else None
            if points is None or own is None:
                passed.incomparable += 1
            elif points.include(own):
                return True
        return False

    def fixed_in(self, version: ComponentVersion) -> str | None:
        """The lowest version with a fix that is above this one."""
        above = (
            (fix, written)
            for kind, fix, written in self._fixes
            if (own := version.point(kind)) is not None and own < fix
        )
        return min(above, key=cmp_to_key(_compared), default=(None, None))[1]


@dataclass(frozen=True, slots=True)
class _Points:
    """A range whose versions are read: its events in their order, and its limits (None: there is no such bound)."""

    kind: RangeKind
    events: tuple[tuple[EventKind, Ordered | None], ...]
    limits: tuple[Ordered, ...] | None

    @staticmethod
    def of(ecosystem: Ecosystem, affected: Range) -> _Points | None:
        """None for one whose versions cannot be compared."""
        try:
            limits = [version for kind, version in affected.events if kind is EventKind.LIMIT]
            bound = tuple(_point(ecosystem, affected.kind, limit) for limit in limits if limit != _ANY)
            unbound = not limits or _ANY in limits
            return _Points(affected.kind, _sorted_events(ecosystem, affected), None if unbound else bound)
        except NotComparable:
            return None

    def include(self, own: Ordered) -> bool:
        """Events in the order of their versions: each says what holds from there on."""
        if self.limits is not None and not any(own < limit for limit in self.limits):
            return False
        vulnerable = False
        for kind, point in self.events:
            if kind is EventKind.INTRODUCED and (point is None or not own < point):
                vulnerable = True
            elif point is None:
                continue
            elif (kind is EventKind.FIXED and not own < point) or (kind is EventKind.LAST_AFFECTED and point < own):
                vulnerable = False
        return vulnerable


def _readable(listed: Iterable[object]) -> frozenset[object]:
    return frozenset(each for each in listed if each is not None)


def _same_written_otherwise(ecosystem: Ecosystem, version: str) -> object:
    """Hashable; None where nothing else than the written version counts."""
    return _comparable(ecosystem, RangeKind.ECOSYSTEM, version) if ecosystem is Ecosystem.PYPI else None


def _fixes(ecosystem: Ecosystem, ranges: Iterable[Range]) -> list[tuple[RangeKind, Ordered, str]]:
    return [
        (each.kind, point, version)
        for each in ranges
        for kind, version in each.events
        if kind is EventKind.FIXED and (point := _comparable(ecosystem, each.kind, version)) is not None
    ]


def _sorted_events(ecosystem: Ecosystem, affected: Range) -> tuple[tuple[EventKind, Ordered | None], ...]:
    """A point of None is before all versions (`introduced: "0"`). Raises NotComparable."""
    events: list[tuple[EventKind, Ordered | None]] = []
    for kind, version in affected.events:
        if kind is not EventKind.LIMIT:
            is_start = kind is EventKind.INTRODUCED and version == "0"
            events.append((kind, None if is_start else _point(ecosystem, affected.kind, version)))
    return tuple(sorted(events, key=cmp_to_key(_events_compared)))


def _events_compared(left: tuple[EventKind, Ordered | None], right: tuple[EventKind, Ordered | None]) -> int:
    (one, first), (two, second) = left, right
    if first is None or second is None:
        return (first is not None) - (second is not None)
    return _compared((first, ""), (second, "")) or _AT_ONE_VERSION.index(one) - _AT_ONE_VERSION.index(two)


def _compared(left: tuple[Ordered, str], right: tuple[Ordered, str]) -> int:
    return -1 if left[0] < right[0] else int(right[0] < left[0])


def _comparable(ecosystem: Ecosystem, kind: RangeKind, version: str) -> Ordered | None:
    """None for what is no version."""
    try:
        return _point(ecosystem, kind, version)
    except NotComparable:
        return None


def _point(ecosystem: Ecosystem, kind: RangeKind, version: str) -> Ordered:
    """Raises NotComparable."""
    return semantic(version) if kind is RangeKind.SEMVER else ordered(ecosystem, version)
