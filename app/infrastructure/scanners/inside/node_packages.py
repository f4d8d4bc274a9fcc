"""Node packages: npm's lock files, and what is installed in node_modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from app.domain.components import Ecosystem
from app.infrastructure.scanners.inside.naming import Named, Unparsed
from app.infrastructure.scanners.inside.stated_licences import NOT_STATED, Licence, any_of, licence

_FOLDER = "node_modules/"


def package_lock(text: str) -> Iterator[Named]:
    """package-lock.json and npm-shrinkwrap.json of lockfileVersion 1 (`dependencies`, nested), 2 and 3 (`packages`)."""
    lock = _object(text)
    packages = lock.get("packages")
    if isinstance(packages, dict):
        for path, entry in packages.items():
            # The project itself, its workspaces, and links to these are no dependencies.
            if _FOLDER in path and isinstance(entry, dict) and not entry.get("link"):
                name = entry.get("name", path.rpartition(_FOLDER)[2])
                yield Named(Ecosystem.NPM, name, entry.get("version"), _licence(entry))
        return
    waiting = [lock.get("dependencies")]
    while waiting:
        dependencies = waiting.pop()
        for name, entry in dependencies.items() if isinstance(dependencies, dict) else ():
            if isinstance(entry, dict):
                yield _aliased(name, entry.get("version"))
                waiting.append(entry.get("dependencies"))


def package_json(text: str) -> Iterator[Named]:
    """The package.json of something installed."""
    package = _object(text)
    # Folders within a package may have one that only says `type: module`.
    if "version" in package:
        yield Named(Ecosystem.NPM, package.get("name"), package["version"], _licence(package))


def is_installed(path: str) -> bool:
    """Whether a path is that of a package's own package.json: node_modules/name/ or node_modules/@scope/name/."""
    before, found, after = path.rpartition(_FOLDER)
    parts = after.split("/")
    depth = 3 if parts[0].startswith("@") else 2
    return bool(found) and (not before or before.endswith("/")) and len(parts) == depth


def _aliased(name: str, version: object) -> Named:
    """`npm:other@1.0` stands for another package's version."""
    if isinstance(version, str) and version.startswith("npm:"):
        other, _, version = version.removeprefix("npm:").rpartition("@")
        return Named(Ecosystem.NPM, other, version)
    return Named(Ecosystem.NPM, name, version)


def _licence(package: dict[str, Any]) -> Licence:
    """`license: "MIT"`, and its older forms `{type: "MIT"}` and `licenses: [{type: ...}, ...]`, to choose from."""
    stated = package.get("license", package.get("licenses"))
    if isinstance(stated, list):
        return any_of(each.get("type") if isinstance(each, dict) else each for each in stated[:20])
    if isinstance(stated, dict):
        stated = stated.get("type")
    return NOT_STATED if stated == "UNLICENSED" else licence(stated)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unparsed from error
    if not isinstance(value, dict):
        raise Unparsed
    return value
