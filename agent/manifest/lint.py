"""What is allowed in a manifest and is probably not meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.manifest.model import Manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice: the field's path, and a sentence that says what will happen and what to write instead."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def lint(manifest: Manifest, folder: Path | None = None) -> list[Finding]:
    """Advice on a valid manifest; with `folder`, also on the files beside it. Reads only, raises nothing of its own."""
    raise NotImplementedError
