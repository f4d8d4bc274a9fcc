"""A module's folder or archive as a server would judge it: one place for its words, whichever command says them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.errors import UsageProblem
from app.cli.output import counted

if TYPE_CHECKING:
    from app.cli.looking import Looked, Refusal


def judged(source: Path) -> Looked | Refusal:
    """Raises UsageProblem for what cannot be read at all."""
    from agent.archive import IGNORE_FILE, ArchiveInvalid, pack
    from agent.manifest import MANIFEST_NAME
    from app.cli.looking import Refusal, look

    try:
        if not source.is_dir():
            if source.exists() and not source.is_file():
                raise UsageProblem(f"{source} is neither a folder nor a file")
            with source.open("rb") as file:
                return look(file)
        if not (source / MANIFEST_NAME).exists():
            raise UsageProblem(f"{source} has no {MANIFEST_NAME}: `hotswap init DIR` makes a module")
        with tempfile.TemporaryFile(prefix="hotswap-") as archive:
            try:
                pack(source, archive)
            except ArchiveInvalid as error:
                return Refusal(f"{source} cannot be packed: {error}")
            return look(archive, ignore_file=(source / IGNORE_FILE).is_file())
    except OSError as error:
        raise UsageProblem(f"cannot read {error.filename or source}: {error.strerror or error}") from None


def problem(source: Path, refusal: Refusal) -> UsageProblem:
    """The refusal as what ends a command: a line for each fault of the manifest."""
    if not refusal.problems:
        return UsageProblem(refusal.sentence)
    fields: dict[str, list[str]] = {}
    for each in refusal.problems:
        text = f"line {each.line}: {each.message}" if each.line else each.message
        fields.setdefault(each.path or "manifest", []).append(text)
    points = counted(len(refusal.problems), "point")
    return UsageProblem(f"hotswap.yaml of {source} is wrong in {points}", fields=fields)


def why_refused(source: Path) -> UsageProblem | None:
    """What `lint` would end with; None for what it finds no fault in."""
    from app.cli.looking import Looked

    try:
        found = judged(source)
    except UsageProblem as error:
        return error
    return None if isinstance(found, Looked) else problem(source, found)
