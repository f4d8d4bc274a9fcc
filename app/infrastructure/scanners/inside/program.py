"""The program in the sandbox: looks through a tree and writes one report.

    start.py app.infrastructure.scanners.inside.program TREE REPORT SECONDS

It ends with 0 and a report, or without one. Its parts fail file by file: what cannot be looked at is left out, counted
and named. `REPORT.at` holds the name of the file that it is at, for when it does not come to an end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.inside.manifests import look_for_packages
from app.infrastructure.scanners.inside.naming import Unparsed
from app.infrastructure.scanners.inside.reading import NotText, TooLarge, TooSlow, at_most
from app.infrastructure.scanners.inside.walking import FoundFile, walk
from app.infrastructure.scanners.report import Reason, Report, report_json

# One file's share of processor time, for each scanner.
SECONDS_FOR_ONE = 20.0
_LONGEST_NAME = 4096
Look = Callable[[FoundFile, Gathering], None]


def main(arguments: Sequence[str]) -> None:
    """Raises OSError for a tree that cannot be listed and a report that cannot be written."""
    tree, target, seconds = Path(arguments[0]), Path(arguments[1]), float(arguments[2])
    with Progress(target.with_name(target.name + ".at")) as progress:
        report = look(tree, time.monotonic() + seconds, progress.at)
    unfinished = target.with_name(target.name + ".part")
    unfinished.write_text(json.dumps(report_json(report), ensure_ascii=True), encoding="ascii")
    unfinished.rename(target)


def look(tree: Path, deadline: float, at: Callable[[str], None]) -> Report:
    """`deadline` by the monotonic clock: what was not reached until then is left out."""
    gathering = Gathering()
    files = walk(tree, gathering)
    # Packages first: they are told quickest, and most is known about them.
    _each("packages", files, look_for_packages, gathering, deadline, at)
    # Imported where they are needed: each takes longer than looking through a small module.
    from app.infrastructure.scanners.inside.secrets_in_files import look_for_secrets

    _each("secrets", files, look_for_secrets, gathering, deadline, at)
    code = [file for file in files if file.base.endswith((".py", ".pyw"))]
    own_code = [file for file in code if not file.is_dependency]
    if len(code) > len(own_code):
        gathering.leave_out(Reason.OF_DEPENDENCY, code[-1].name, len(code) - len(own_code))
    if own_code:
        from app.infrastructure.scanners.inside.python_code import PythonCode

        _each("Python code", own_code, PythonCode().look_at, gathering, deadline, at)
    return gathering.report()


def _each(
    what: str, files: list[FoundFile], look_at: Look, gathering: Gathering, deadline: float, at: Callable[[str], None]
) -> None:
    for done, file in enumerate(files):
        left = deadline - time.monotonic()
        if left <= 0:
            gathering.leave_out(Reason.TIME, f"{file.name} ({what})", len(files) - done)
            return
        at(f"{file.name} ({what})")
        reason = _tried(look_at, file, gathering, min(left, SECONDS_FOR_ONE))
        if reason is not None:
            gathering.leave_out(reason, file.name)


def _tried(look_at: Look, file: FoundFile, gathering: Gathering, seconds: float) -> Reason | None:
    try:
        with at_most(seconds):
            look_at(file, gathering)
    except TooSlow:
        return Reason.SLOW
    except TooLarge:
        return Reason.LARGE
    except (NotText, Unparsed):
        return Reason.UNPARSED
    except OSError:
        return Reason.UNREADABLE
    # Whatever a parser throws at a hostile file costs that file, never the report.
    except Exception as error:
        print(f"{file.name!r}: {type(error).__name__}: {error}"[:500], file=sys.stderr)
        return Reason.BROKEN
    return None


class Progress:
    """A small file that is overwritten in place: it outlives the program, however that ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def at(self, name: str) -> None:
        line = os.fsencode(name)[:_LONGEST_NAME] + b"\n"
        os.pwrite(self._descriptor, line, 0)
