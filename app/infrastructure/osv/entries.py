"""One entry of a vulnerability database, in the OSV format (ossf.github.io/osv-schema, 1.7). Pure.

Entries come from files that are maintained elsewhere: what is not of the form costs the entry or the range, never more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.domain.components import Ecosystem, normal_name
from app.domain.findings import Severity
from app.infrastructure.osv.severity import severity_of

_MOST = 20_000


class EntryInvalid(ValueError):
    """A JSON value that is no entry."""


class RangeKind(StrEnum):
    SEMVER = "SEMVER"
    ECOSYSTEM = "ECOSYSTEM"
    GIT = "GIT"


class EventKind(StrEnum):
    INTRODUCED = "introduced"
    FIXED = "fixed"
    LAST_AFFECTED = "last_affected"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Range:
    kind: RangeKind
    events: tuple[tuple[EventKind, str], ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """`name` in its normal form."""

    ecosystem: Ecosystem
    name: str
    versions: frozenset[str]
    ranges: tuple[Range, ...]
    severity: Severity | None


@dataclass(frozen=True, slots=True)
class Entry:
    """`severity` None: not told."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    modified: datetime | None
    is_withdrawn: bool
    severity: Severity | None
    affected: tuple[Affected, ...]


def package_names(value: object) -> Iterator[tuple[Ecosystem, str]]:
    """What an entry is about, without reading the rest of it. Raises EntryInvalid for what is no entry."""
    for item in _listed(_entry(value), "affected"):
        named = _package(item)
        if named is not None:
            yield named


def modified(value: object) -> datetime | None:
    """When an entry was last changed. Raises EntryInvalid for what is no entry."""
    text = _entry(value).get("modified")
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def read_entry(value: object) -> Entry:
    """Raises EntryInvalid."""
    fields = _entry(value)
    return Entry(
        id=fields["id"],
        aliases=tuple(alias for alias in _listed(fields, "aliases") if isinstance(alias, str)),
        summary=next((text for text in map(fields.get, ("summary", "details")) if isinstance(text, str)), ""),
        modified=modified(value),
        is_withdrawn=bool(fields.get("withdrawn")),
        severity=severity_of(fields),
        affected=tuple(_affected(fields)),
    )


def _entry(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or not value["id"]:
        raise EntryInvalid("it is no OSV entry: it has no id")
    return value


def _affected(fields: Mapping[str, Any]) -> Iterator[Affected]:
    for item in _listed(fields, "affected"):
        named = _package(item)
        if named is not None:
            versions = frozenset(each for each in _listed(item, "versions") if isinstance(each, str))
            ranges = tuple(each for each in map(_range, _listed(item, "ranges")) if each is not None)
            yield Affected(*named, versions, ranges, severity_of(item))


def _package(item: object) -> tuple[Ecosystem, str] | None:
    package = item.get("package") if isinstance(item, dict) else None
    if not isinstance(package, dict):
        return None
    name, ecosystem = package.get("name"), package.get("ecosystem")
    if not isinstance(name, str) or not isinstance(ecosystem, str) or not name.isprintable():
        return None
    try:
        # `Maven:https://repo.example` is of one repository of that ecosystem.
        known = Ecosystem(ecosystem.partition(":")[0])
    except ValueError:
        return None
    return known, normal_name(known, name)


def _range(item: object) -> Range | None:
    if not isinstance(item, dict) or str(item.get("type")) not in set(RangeKind):
        return None
    return Range(RangeKind(str(item["type"])), tuple(_events(item)))


def _events(item: Mapping[str, Any]) -> Iterator[tuple[EventKind, str]]:
    for event in _listed(item, "events"):
        for kind in EventKind:
            version = event.get(kind.value) if isinstance(event, dict) else None
            if isinstance(version, str):
                yield kind, version


def _listed(fields: Mapping[str, Any], key: str) -> list[Any]:
    value = fields.get(key)
    return value[:_MOST] if isinstance(value, list) else []
