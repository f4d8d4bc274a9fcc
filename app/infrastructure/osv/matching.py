"""Whether a version is affected: the evaluation that the OSV schema describes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cmp_to_key

from app.domain.components import Component, Ecosystem
from app.infrastructure.osv.entries import Affected, EventKind, Range, RangeKind
from app.infrastructure.osv.ordering import NotComparable, Ordered, ordered, semantic

# What was before is fixed, something is introduced anew, and this version is its last.
_AT_ONE_VERSION = (EventKind.FIXED, EventKind.INTRODUCED, EventKind.LAST_AFFECTED)


@dataclass(slots=True)
class Passed:
    """What matching had to pass over: ranges of commits, and ranges whose versions cannot be compared."""

    git_ranges: int = 0
    incomparable: int = 0


def is_affected(component: Component, affected: Affected, passed: Passed) -> bool:
    """`affected` is of that package. Listed versions count as they are written, or as the same version written
    otherwise (`1.0` and `1.0.0` on PyPI)."""
    if component.version in affected.versions or _listed_otherwise(component, affected):
        return True
    found = False
    for each in affected.ranges:
        if each.kind is RangeKind.GIT:
            passed.git_ranges += 1
            continue
        try:
            found = found or _within(component, each)
        except NotComparable:
            passed.incomparable += 1
    return found


def fixed_in(component: Component, affected: Affected) -> str | None:
    """The lowest version with a fix that is above the component's."""
    fixes: list[tuple[Ordered, str]] = []
    for each in affected.ranges:
        for kind, version in each.events:
            try:
                if each.kind is RangeKind.GIT or kind is not EventKind.FIXED:
                    continue
                fix = _point(component.ecosystem, each.kind, version)
                if _point(component.ecosystem, each.kind, component.version) < fix:
                    fixes.append((fix, version))
            except NotComparable:
                continue
    return min(fixes, key=cmp_to_key(_compared))[1] if fixes else None


def _listed_otherwise(component: Component, affected: Affected) -> bool:
    if component.ecosystem is not Ecosystem.PYPI or not affected.versions:
        return False
    try:
        own = ordered(component.ecosystem, component.version)
    except NotComparable:
        return False
    for version in affected.versions:
        try:
            if ordered(component.ecosystem, version) == own:
                return True
        except NotComparable:
            continue
    return False


def _within(component: Component, affected: Range) -> bool:
    """Events in the order of their versions: each says what holds from there on."""
    own = _point(component.ecosystem, affected.kind, component.version)
    limits = [version for kind, version in affected.events if kind is EventKind.LIMIT]
    if limits and not any(limit == "*" or own < _point(component.ecosystem, affected.kind, limit) for limit in limits):
        return False
    vulnerable = False
    for kind, point in _sorted_events(component.ecosystem, affected):
        if kind is EventKind.INTRODUCED and (point is None or not own < point):
            vulnerable = True
        elif point is None:
            continue
        elif (kind is EventKind.FIXED and not own < point) or (kind is EventKind.LAST_AFFECTED and point < own):
            vulnerable = False
    return vulnerable


def _sorted_events(ecosystem: Ecosystem, affected: Range) -> list[tuple[EventKind, Ordered | None]]:
    """A point of None is before all versions (`introduced: "0"`)."""
    events: list[tuple[EventKind, Ordered | None]] = []
    for kind, version in affected.events:
        if kind is not EventKind.LIMIT:
            is_start = kind is EventKind.INTRODUCED and version == "0"
            events.append((kind, None if is_start else _point(ecosystem, affected.kind, version)))
    return sorted(events, key=cmp_to_key(_events_compared))


def _events_compared(left: tuple[EventKind, Ordered | None], right: tuple[EventKind, Ordered | None]) -> int:
    (one, first), (two, second) = left, right
    if first is None or second is None:
        return (first is not None) - (second is not None)
    return _compared((first, ""), (second, "")) or _AT_ONE_VERSION.index(one) - _AT_ONE_VERSION.index(two)


def _compared(left: tuple[Ordered, str], right: tuple[Ordered, str]) -> int:
    return -1 if left[0] < right[0] else int(right[0] < left[0])


def _point(ecosystem: Ecosystem, kind: RangeKind, version: str) -> Ordered:
    return semantic(version) if kind is RangeKind.SEMVER else ordered(ecosystem, version)
