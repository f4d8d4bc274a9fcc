"""What the users of a load got."""

from __future__ import annotations

from collections import Counter, defaultdict


class Tally:
    """Written by the load's thread only; may be read at any time."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        """How requests failed: kind of user, target, and what went wrong."""
        self._answers: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def answered(self, target: str, body: str) -> None:
        self._answers[target][body] += 1

    def failed(self, target: str, kind: str, how: str) -> None:
        self.failures[f"{kind} {target}: {how}"] += 1

    @property
    def answers(self) -> int:
        """All answers of status 200."""
        return sum(counter.total() for counter in list(self._answers.values()))

    @property
    def versions(self) -> Counter[str]:
        """How many answers had each body."""
        return sum((Counter(counter) for counter in list(self._answers.values())), Counter())

    def of(self, target: str) -> Counter[str]:
        """The same of one target."""
        return Counter(self._answers[target])
