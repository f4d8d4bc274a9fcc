"""What a server would say about an archive, and what it would take without a word though it is probably not meant.

The rules are the server's own code (`agent.archive`, `agent.manifest`) with its default limits, the words before them
those of its answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from agent.archive import ArchiveInvalid, Entry, EntryKind, Inspection, Limits
from agent.archive.reading import Pass
from agent.manifest import Finding, ManifestInvalid, Problem
from agent.manifest import lint as manifest_advice

_MIB = 1024 * 1024
_MANY_ENTRIES = 1000
_MANY_BYTES = 20 * _MIB
_LARGEST_LOOKED_INTO = 256 * 1024  # bytes of one file
_MOST_LOOKED_INTO = 64 * _MIB  # of all together
_MOST_SECRETS = 20
_NAMES = re.compile(
    r"(?:.*/)?(?:\.env|\.netrc|\.pypirc|\.git-credentials|id_(?:rsa|dsa|ecdsa|ed25519)|[^/]*\.(?:p12|pfx|jks))"
)
_SIGNS = (
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")),
    ("an AWS access key", re.compile(rb"\bAKIA[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}\b")),
    ("a Slack token", re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("a HotSwap token", re.compile(rb"\bhs_[A-Za-z0-9_-]{32,}")),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`sentence` is what the server would answer; `problems` are the manifest's, one by one."""

    sentence: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A valid archive, and advice."""

    inspection: Inspection
    advice: tuple[Finding, ...]


def look(archive: BinaryIO, limits: Limits | None = None, *, ignore_file: bool | None = None) -> Looked | Refusal:
    """Read an archive once. `ignore_file`: whether the folder that it was packed of has one; None for any other."""
    limits = limits or Limits()
    size = archive.seek(0, 2)
    if size > limits.archive_bytes:
        return Refusal(f"The archive is larger than {limits.archive_bytes} bytes.")
    try:
        reading = Pass(archive, limits)
        secrets = list(_secrets(reading))
        inspection = reading.inspection()
    except ArchiveInvalid as error:
        return Refusal(f"The archive is refused: {error}")
    except ManifestInvalid as error:
        return Refusal(str(error), error.problems)
    files = {entry.path: entry.executable for entry in inspection.entries if entry.kind is not EntryKind.DIRECTORY}
    advice = [*manifest_advice(inspection.manifest, files), *_on_output(inspection)]
    if ignore_file is False:
        advice += _on_size(inspection)
    return Looked(inspection, (*advice, *secrets))


def _on_output(inspection: Inspection) -> Iterator[Finding]:
    build = inspection.manifest.build
    if build is not None and any(entry.path.startswith(f"{build.output}/") for entry in inspection.entries):
        yield Finding("build.output", f"{build.output!r} goes into the archive, and the build makes it: ignore it")


def _on_size(inspection: Inspection) -> Iterator[Finding]:
    count, size = len(inspection.entries), inspection.unpacked_bytes
    if count > _MANY_ENTRIES or size > _MANY_BYTES:
        yield Finding(
            "", f"{count} entries with {_mebibytes(size)} go into the archive, and there is no .hotswapignore; "
            f"most of it: {_largest(inspection.entries)}"
        )  # fmt: skip


def _largest(entries: Sequence[Entry], most: int = 3) -> str:
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.path.partition("/")[0]] += entry.size
    return ", ".join(f"{name} ({_mebibytes(size)})" for name, size in sizes.most_common(most))


def _mebibytes(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"


def _secrets(reading: Pass) -> Iterator[Finding]:
    """Consumes the whole pass. What is in a file is looked at where that is cheap."""
    found = looked_into = 0
    for entry in reading.entries():
        signs = [f"'{entry.path}' is usually a secret"] if _NAMES.fullmatch(entry.path) else []
        small = entry.kind is EntryKind.FILE and 0 < entry.size <= _LARGEST_LOOKED_INTO
        if small and looked_into + entry.size <= _MOST_LOOKED_INTO:
            looked_into += entry.size
            content = b"".join(reading.content())
            signs += [f"'{entry.path}', line {line}, looks like {what}" for what, line in _signs(content)]
        for sign in signs[: _MOST_SECRETS - found]:
            found += 1
            yield Finding("", f"{sign}, and everybody who can read the archive can read it; name it in .hotswapignore")


def _signs(content: bytes) -> Iterator[tuple[str, int]]:
    for what, expression in _SIGNS:
        match = expression.search(content)
        if match:
            yield what, content.count(b"\n", 0, match.start()) + 1
