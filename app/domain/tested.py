"""What a release's tests said, summed over their reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MOST_NAMES = 50
LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class TestCounts:
    """`failing` are the names of the first tests that failed or had errors, `failed` counts all of them."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    total: int
    failed: int
    skipped: int
    failing: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        return self.total - self.failed - self.skipped

    def sentence(self) -> str:
        """`12 tests: 10 passed, 1 failed, 1 skipped (failed: test_a)`."""
        parts = [f"{self.passed} passed"]
        parts += [f"{count} {word}" for count, word in ((self.failed, "failed"), (self.skipped, "skipped")) if count]
        named = ", ".join(self.failing[:3]) + (", ..." if self.failed > 3 else "")
        tests = "1 test" if self.total == 1 else f"{self.total} tests"
        return f"{tests}: {', '.join(parts)}" + (f" (failed: {named})" if self.failing else "")

    def as_json(self) -> dict[str, Any]:
        """camelCase, for the stage's details."""
        return {
            "total": self.total,
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "failing": list(self.failing),
        }


def name_of(suite: str, name: str) -> str:
    """What people call a test: `suite: name`, of bounded length."""
    return (f"{suite}: {name}" if suite else name)[:LONGEST_NAME]


def added(counts: Iterable[TestCounts]) -> TestCounts | None:
    """All of them together; None of none."""
    each = list(counts)
    if not each:
        return None
    failing = tuple(name for one in each for name in one.failing)[:MOST_NAMES]
    return TestCounts(
        sum(one.total for one in each), sum(one.failed for one in each), sum(one.skipped for one in each), failing
    )
