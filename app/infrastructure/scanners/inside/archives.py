"""Packages within jars, wars and wheels, also in a jar within a jar (as Spring Boot packs them). Nothing is unpacked to
the disk, and of every entry no more is read than a manifest may be long."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from app.domain.components import Ecosystem
from app.infrastructure.scanners.inside.java_packages import pom_properties, read_pom
from app.infrastructure.scanners.inside.naming import Inexact, Named, Unparsed
from app.infrastructure.scanners.inside.python_packages import metadata
from app.infrastructure.scanners.inside.reading import NotText, as_text

JARS = (".jar", ".war", ".ear")
_MOST_ENTRIES = 100_000
_LONGEST = 1024 * 1024
_LARGEST_INNER = 128 * 1024 * 1024
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError, NotText)


def packed(file: BinaryIO, name: str) -> Iterator[Named | Inexact]:
    """What an archive of this name holds. Raises Unparsed for what is no sound zip file."""
    yield from _packed(file, name, may_nest=True)


def _packed(file: BinaryIO, name: str, *, may_nest: bool) -> Iterator[Named | Inexact]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES:
                raise Unparsed
            found = list(_named(archive, entries))
            yield from found
            if may_nest:
                yield from _nested(archive, entries)
            # A jar that was built without Maven does not tell its coordinates.
            if not found and name.endswith(".jar"):
                yield Inexact(PurePosixPath(name).name)
    except _BROKEN as error:
        raise Unparsed from error


def _named(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> Iterator[Named]:
    names = {entry.filename for entry in entries}
    for entry in entries:
        folder, _, base = entry.filename.rpartition("/")
        if base == "pom.properties" and folder.startswith("META-INF/maven/"):
            yield _maven(archive, entry, f"{folder}/pom.xml" if f"{folder}/pom.xml" in names else None)
        elif base == "METADATA" and folder.endswith(".dist-info"):
            yield from metadata(as_text(_read(archive, entry, _LONGEST)))


def _maven(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, pom: str | None) -> Named:
    named = pom_properties(as_text(_read(archive, entry, _LONGEST)))
    if pom is None:
        return named
    try:
        licence = read_pom(_read(archive, archive.getinfo(pom), _LONGEST)).licence()
    except Unparsed:
        return named
    return Named(Ecosystem.MAVEN, named.name, named.version, licence)


def _nested(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> Iterator[Named | Inexact]:
    for entry in entries:
        if not entry.filename.lower().endswith(JARS):
            continue
        try:
            inner = _read(archive, entry, _LARGEST_INNER)
            yield from _packed(io.BytesIO(inner), entry.filename, may_nest=False)
        except Unparsed:
            yield Inexact(entry.filename)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """However much it is said, or turns out, to hold."""
    with archive.open(entry) as content:
        read = content.read(most + 1)
    if len(read) > most:
        raise Unparsed
    return read
