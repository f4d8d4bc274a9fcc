"""Known vulnerabilities of components: each time anew, since the data changes and a release does not."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event

from app.domain.components import Component
from app.domain.findings import Finding, Severity
from app.infrastructure.osv.entries import Affected, Entry
from app.infrastructure.osv.matching import ComponentVersion, Matcher, Passed
from app.infrastructure.osv.reading import LookupCancelled, Package, read_folder
from app.infrastructure.scanners.wording import LONGEST_TEXT, clean

_MOST_FINDINGS = 5_000
_MOST_ALIASES = 6
# Whose id an entry that several databases have is called by.
_FIRST = ("GHSA-", "PYSEC-", "MAL-")


@dataclass(frozen=True, slots=True)
class OsvResult:
    """`entries` is how many the folder holds, `newest` when the latest of these was changed: the age of the data.
    `broken` names the first of `broken_count` files that could not be used. `git_ranges` and `incomparable` count
    ranges of versions that could not be compared with a component's (commits; texts that are no versions)."""

    findings: tuple[Finding, ...]
    entries: int
    newest: datetime | None
    broken_count: int
    broken: tuple[str, ...]
    withdrawn: int
    git_ranges: int
    incomparable: int

    def sentence(self) -> str:
        """`12,345 entries of vulnerability data, the newest of 2026-11-20; 2 broken files: a.json, b.json`."""
        newest = f", the newest of {self.newest:%Y-%m-%d}" if self.newest else ""
        count = f"{self.broken_count} broken file{'s' if self.broken_count != 1 else ''}"
        broken = f"; {count}: {', '.join(self.broken[:3])}" if self.broken_count else ""
        return f"{self.entries:,} entries of vulnerability data{newest}{broken}"


def known_vulnerabilities(
    components: Sequence[Component], folder: Path, cancelled: Event | None = None, *, index: Path | None = None
) -> OsvResult:
    """One finding for each vulnerability of each component, called `osv.<id>`.

    Reads the whole folder (about 7 s for 100,000 entries), with an `index` only when the folder has changed since the
    last time: a file of the caller's, whose folder is there. Raises OsvUnavailable if the folder holds no data,
    LookupCancelled, and OSError if the index cannot be written.
    """
    by_package: dict[Package, list[Component]] = defaultdict(list)
    for component in components:
        by_package[component.key].append(component)
    entries, about = read_folder(folder, by_package.keys(), cancelled, index)
    valid = [entry for entry in entries.values() if not entry.is_withdrawn]
    passed = Passed()
    return OsvResult(
        findings=_gravest(_vulnerabilities(by_package, valid, passed, cancelled or Event())),
        entries=about.read,
        newest=about.newest,
        broken_count=about.broken_count,
        broken=tuple(about.broken),
        withdrawn=len(entries) - len(valid),
        git_ranges=passed.git_ranges,
        incomparable=passed.incomparable,
    )


@dataclass(frozen=True, slots=True)
class _Match:
    """What an entry says of the package, where it affects a component."""

    entry: Entry
    affected: Affected
    matcher: Matcher

    @property
    def names(self) -> tuple[str, ...]:
        return (self.entry.id, *self.entry.aliases)


@dataclass(frozen=True, slots=True)
class _Vulnerability:
    """One of one component, told by one entry or several, the preferred first. `severity` None: no entry tells it."""

    component: Component
    version: ComponentVersion
    told_by: tuple[_Match, ...]
    severity: Severity | None

    @property
    def graveness(self) -> Severity:
        return self.severity or Severity.MEDIUM

    def order(self) -> tuple[int, str, str, str, str]:
        component = self.component
        return -self.graveness.rank, self.told_by[0].entry.id, component.found, component.name, component.version


def _vulnerabilities(
    by_package: Mapping[Package, list[Component]], entries: Iterable[Entry], passed: Passed, cancelled: Event
) -> Iterator[_Vulnerability]:
    """One after the other: of many components and many entries there may be millions. Raises LookupCancelled."""
    about: dict[Package, list[tuple[Entry, Affected]]] = defaultdict(list)
    for entry in entries:
        for affected in entry.affected:
            about[affected.ecosystem, affected.name].append((entry, affected))
    for package, components in by_package.items():
        said = [_Match(entry, affected, Matcher(affected)) for entry, affected in about.get(package, ())]
        for component in components if said else ():
            if cancelled.is_set():
                raise LookupCancelled
            version = ComponentVersion(component)
            for same in _grouped(_matches(said, version, passed)):
                yield _vulnerability(component, version, same)


def _matches(said: Iterable[_Match], version: ComponentVersion, passed: Passed) -> list[_Match]:
    """An entry that says several things of a package counts once."""
    found: dict[str, _Match] = {}
    for each in said:
        if each.entry.id not in found and each.matcher.affects(version, passed):
            found[each.entry.id] = each
    return list(found.values())


def _grouped(matches: Iterable[_Match]) -> Iterable[list[_Match]]:
    """Entries of several databases that name each other as aliases are one vulnerability."""
    group_of: dict[str, list[_Match]] = {}
    for match in matches:
        group = [match]
        for known in {id(known): known for name in match.names if (known := group_of.get(name))}.values():
            group += known
        group_of.update((name, group) for member in group for name in member.names)
    return {id(group): group for group in group_of.values()}.values()


def _preference(entry: Entry) -> tuple[int, str]:
    return next((rank for rank, prefix in enumerate(_FIRST) if entry.id.startswith(prefix)), len(_FIRST)), entry.id


def _vulnerability(component: Component, version: ComponentVersion, same: list[_Match]) -> _Vulnerability:
    told = [severity for match in same if (severity := match.affected.severity or match.entry.severity)]
    told_by = sorted(same, key=lambda match: _preference(match.entry))
    return _Vulnerability(component, version, tuple(told_by), max(told, key=lambda each: each.rank, default=None))


def _gravest(vulnerabilities: Iterator[_Vulnerability]) -> tuple[Finding, ...]:
    """The gravest first; what is over the bound is said in one finding as grave as the gravest of it."""
    count = 0

    def counted() -> Iterator[_Vulnerability]:
        nonlocal count
        for each in vulnerabilities:
            count += 1
            yield each

    first = heapq.nsmallest(_MOST_FINDINGS + 1, counted(), key=_Vulnerability.order)
    findings = tuple(map(_finding, first[:_MOST_FINDINGS]))
    if count <= _MOST_FINDINGS:
        return findings
    rest = count - _MOST_FINDINGS
    return (*findings, Finding(first[-1].graveness, "osv.more", f"{rest} more known vulnerabilities"))


def _finding(vulnerability: _Vulnerability) -> Finding:
    component, told_by = vulnerability.component, vulnerability.told_by
    entry = told_by[0].entry
    others = sorted({name for match in told_by for name in match.names} - {entry.id})
    fixes = [fix for match in told_by if (fix := match.matcher.fixed_in(vulnerability.version))]
    parts = [
        f"{component.name} {component.version}: {clean(entry.summary, 200) or 'a known vulnerability'}",
        f" ({', '.join(others[:_MOST_ALIASES])})" if others else "",
        f"; fixed in {fixes[0]}" if fixes else "; no fix is known",
        "" if vulnerability.severity else "; its severity is not told",
    ]
    rule, text = f"osv.{clean(entry.id, 100)}", clean("".join(parts), LONGEST_TEXT)
    return Finding(vulnerability.graveness, rule, text, component.found)
