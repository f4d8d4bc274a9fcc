"""What was expected and what was measured, and the table of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    expected: str
    measured: str
    right: bool


@dataclass
class Findings:
    """All of them, in the order of the story."""

    all: list[Finding] = field(default_factory=list)

    def equal(self, what: str, expected: object, measured: object) -> None:
        """Has to be this and nothing else."""
        self.all.append(Finding(what, _shown(expected), _shown(measured), expected == measured))

    def at_least(self, what: str, expected: int, measured: int) -> None:
        """Has to be so many or more."""
        self.all.append(Finding(what, f"at least {_shown(expected)}", _shown(measured), measured >= expected))

    @property
    def wrong(self) -> list[Finding]:
        return [finding for finding in self.all if not finding.right]

    def table(self) -> Iterator[str]:
        """Its lines; what differs says so at its end."""
        rows = [("", "expected", "measured"), *((each.what, each.expected, each.measured) for each in self.all)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row, right in zip(rows, (True, *(each.right for each in self.all)), strict=True):
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield cells.rstrip() if right else f"{cells}  <- DIFFERS"


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple | set | frozenset):
        items = [_shown(each) for each in value]
        return ", ".join(sorted(items) if isinstance(value, set | frozenset) else items) or "none"
    return str(value)
