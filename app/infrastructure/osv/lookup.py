"""Known vulnerabilities of components: each time anew, since the data changes and a release does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event

from app.domain.components import Component
from app.domain.findings import Finding, Severity
from app.infrastructure.osv.entries import Affected, Entry
from app.infrastructure.osv.matching import Passed, fixed_in, is_affected
from app.infrastructure.osv.reading import Package, read_folder
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
    passed = Passed()
    valid = [entry for entry in entries.values() if not entry.is_withdrawn]
    matches = [match for entry in valid for match in _matches(entry, by_package, passed)]
    findings = sorted(_findings(matches), key=lambda each: (-each.severity.rank, each.rule, each.file or "", each.text))
    return OsvResult(
        findings=_bounded(findings),
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
    entry: Entry
    affected: Affected
    component: Component


def _matches(entry: Entry, by_package: Mapping[Package, list[Component]], passed: Passed) -> Iterator[_Match]:
    told: set[Component] = set()
    for affected in entry.affected:
        for component in by_package.get((affected.ecosystem, affected.name), ()):
            if component not in told and is_affected(component, affected, passed):
                told.add(component)
                yield _Match(entry, affected, component)


def _findings(matches: Iterable[_Match]) -> Iterator[Finding]:
    """Entries of several databases that name each other as aliases are one vulnerability."""
    by_component: dict[Component, list[_Match]] = defaultdict(list)
    for match in matches:
        by_component[match.component].append(match)
    for of_one in by_component.values():
        for same in _grouped(of_one):
            yield _finding(same)


def _grouped(matches: list[_Match]) -> list[list[_Match]]:
    groups: list[tuple[set[str], list[_Match]]] = []
    for match in matches:
        names, members, others = {match.entry.id, *match.entry.aliases}, [match], []
        for group in groups:
            if names.isdisjoint(group[0]):
                others.append(group)
            else:
                names |= group[0]
                members += group[1]
        groups = [*others, (names, members)]
    return [members for _, members in groups]


def _preference(entry: Entry) -> tuple[int, str]:
    return next((rank for rank, prefix in enumerate(_FIRST) if entry.id.startswith(prefix)), len(_FIRST)), entry.id


def _finding(same: list[_Match]) -> Finding:
    same = sorted(same, key=lambda match: _preference(match.entry))
    first = same[0]
    entry, component = first.entry, first.component
    told = [severity for match in same if (severity := match.affected.severity or match.entry.severity)]
    severity = max(told, key=lambda each: each.rank, default=Severity.MEDIUM)
    others = sorted({name for match in same for name in (match.entry.id, *match.entry.aliases)} - {entry.id})
    fixes = [fix for match in same if (fix := fixed_in(component, match.affected))]
    parts = [
        f"{component.name} {component.version}: {clean(entry.summary, 200) or 'a known vulnerability'}",
        f" ({', '.join(others[:_MOST_ALIASES])})" if others else "",
        f"; fixed in {fixes[0]}" if fixes else "; no fix is known",
        "" if told else "; its severity is not told",
    ]
    return Finding(severity, f"osv.{clean(entry.id, 100)}", clean("".join(parts), LONGEST_TEXT), component.found)


def _bounded(findings: list[Finding]) -> tuple[Finding, ...]:
    """The gravest; what is over the bound is said in one finding as grave as the gravest of them."""
    if len(findings) <= _MOST_FINDINGS:
        return tuple(findings)
    rest = findings[_MOST_FINDINGS:]
    more = Finding(rest[0].severity, "osv.more", f"{len(rest)} more known vulnerabilities")
    return (*findings[:_MOST_FINDINGS], more)
