"""What is wrong with a manifest, every point of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One wrong point: its line in the file (from 1; 0 where there is none), its field's path, and a sentence.

    `path` is like `run.listen` or `validate[0].status`; empty for the file as a whole.
    """

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else ""
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ManifestInvalid(ValueError):
    """A manifest that is refused; `problems` are all that was found, in the order of the lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        super().__init__("hotswap.yaml: " + "; ".join(str(problem) for problem in self.problems))

    def by_field(self) -> dict[str, list[str]]:
        """Field path -> sentences with their line, as an API's `errors` wants them (`""` becomes `manifest`)."""
        found: dict[str, list[str]] = {}
        for problem in self.problems:
            text = f"line {problem.line}: {problem.message}" if problem.line else problem.message
            found.setdefault(problem.path or "manifest", []).append(text)
        return found
