"""Python packages: requirements files, lock files, and the metadata of what is installed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from app.domain.components import Ecosystem
from app.infrastructure.scanners.inside.naming import Inexact, Named, Unparsed
from app.infrastructure.scanners.inside.stated_licences import NOT_STATED, Licence, all_of, licence

_LONGEST_HEADER = 256 * 1024
_OWN_SOURCES = ("virtual", "editable", "directory", "path")


def requirements(text: str) -> Iterator[Named | Inexact]:
    """A requirements file of pip: what is pinned with `==`. Files that it includes are found by themselves."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        wanted = re.split(r"(?:^|\s)(?:#|--hash|--config-settings)", line, maxsplit=1)[0].strip()
        if not wanted or wanted.startswith("-"):
            continue
        yield _pinned(wanted[:2000])


def _pinned(wanted: str) -> Named | Inexact:
    try:
        requirement = Requirement(wanted)
    except (InvalidRequirement, RecursionError):
        return Inexact(wanted)
    exact = [each.version for each in requirement.specifier if each.operator in {"==", "==="}]
    if len(exact) != 1 or exact[0].endswith("*"):
        return Inexact(requirement.name)
    return Named(Ecosystem.PYPI, requirement.name, exact[0])


def toml_lock(text: str) -> Iterator[Named]:
    """poetry.lock, uv.lock, pdm.lock: a list `package`. The project itself is not one of its dependencies."""
    try:
        packages = tomllib.loads(text).get("package")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Unparsed from error
    for package in packages if isinstance(packages, list) else ():
        if not isinstance(package, dict):
            continue
        source = package.get("source")
        if not (isinstance(source, dict) and any(kind in source for kind in _OWN_SOURCES)):
            yield Named(Ecosystem.PYPI, package.get("name"), package.get("version"))


def pipfile_lock(text: str) -> Iterator[Named | Inexact]:
    """Pipfile.lock: `{default: {name: {version: "==1.0"}}, develop: ...}`."""
    try:
        lock: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unparsed from error
    sections = [lock.get(key) for key in ("default", "develop")] if isinstance(lock, dict) else []
    for section in sections:
        for name, entry in section.items() if isinstance(section, dict) else ():
            version = entry.get("version") if isinstance(entry, dict) else None
            if isinstance(version, str) and version.startswith("=="):
                yield Named(Ecosystem.PYPI, name, version.lstrip("="))
            else:
                yield Inexact(name)


def metadata(text: str) -> Iterator[Named]:
    """METADATA of a *.dist-info, PKG-INFO of an *.egg-info (Core metadata, packaging.python.org)."""
    fields = HeaderParser().parsestr(text[:_LONGEST_HEADER])
    name, version = fields.get("Name"), fields.get("Version")
    if name is None or version is None:
        raise Unparsed
    yield Named(Ecosystem.PYPI, str(name).strip(), str(version).strip(), _licence(fields))


def _licence(fields: Any) -> Licence:
    """The expression, else what the classifiers say, else the field of free text."""
    stated = licence(fields.get("License-Expression"))
    if stated[0]:
        return stated
    by_classifier = all_of(_classified(fields.get_all("Classifier") or ()))
    by_text = licence(fields.get("License"))
    understood = [each for each in (by_classifier, by_text) if each[0]]
    return next(iter(understood), by_text if by_text != NOT_STATED else by_classifier)


def _classified(classifiers: Iterable[object]) -> Iterator[str]:
    for classifier in classifiers:
        parts = str(classifier).split(" :: ")
        if parts[0] == "License" and len(parts) > 1 and parts[-1] != "OSI Approved":
            yield parts[-1]
