"""The one way in which an archive is refused."""

from __future__ import annotations


class ArchiveInvalid(ValueError):
    """An archive that is refused, or a folder that cannot become one; the text is one sentence for its author.

    `entry` is the name it is about, None where it is about the archive as a whole.
    """

    def __init__(self, reason: str, entry: str | None = None) -> None:
        self.reason = reason
        self.entry = entry
        super().__init__(reason if entry is None else f"{shown(entry)}: {reason}")


def shown(name: str) -> str:
    """An entry's name for a message: quoted, control characters escaped, cut in the middle when it is long."""
    if len(name) > 120:
        name = f"{name[:70]}...{name[-40:]}"
    return ascii(name) if not name.isprintable() else f"'{name}'"
