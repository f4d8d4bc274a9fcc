"""Which files name packages, and who reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from app.infrastructure.scanners.inside import java_packages, node_packages, python_packages
from app.infrastructure.scanners.inside.archives import JARS, packed
from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.inside.naming import Inexact, Named
from app.infrastructure.scanners.inside.reading import LONGEST_MANIFEST, TooLarge, as_text, read_bytes
from app.infrastructure.scanners.inside.walking import FoundFile
from app.infrastructure.scanners.report import Reason

_LARGEST_ARCHIVE = 512 * 1024 * 1024
_Packages = Iterable[Named | Inexact]
_BY_NAME: dict[str, Callable[[str], _Packages]] = {
    "poetry.lock": python_packages.toml_lock,
    "uv.lock": python_packages.toml_lock,
    "pdm.lock": python_packages.toml_lock,
    "Pipfile.lock": python_packages.pipfile_lock,
    "package-lock.json": node_packages.package_lock,
    "npm-shrinkwrap.json": node_packages.package_lock,
    "gradle.lockfile": java_packages.gradle_lock,
}
_REQUIREMENTS = re.compile(r"(?:.*/)?(?:[\w.-]*requirements[\w.-]*|requirements/[\w.-]+)\.txt", re.IGNORECASE)
_INSTALLED = re.compile(r"(?:.*/)?[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO)")
_MAVEN = re.compile(r"(?:.*/)?META-INF/maven/.+/pom\.properties")
# Lock files that nobody here reads: their packages are missing in what is told, and that is said.
_UNKNOWN_LOCKS = frozenset(
    {"yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "Cargo.lock", "go.sum", "Gemfile.lock", "composer.lock"}
)


def look_for_packages(file: FoundFile, gathering: Gathering) -> None:
    """Adds what a file names, if it is one that names packages. Raises OSError, TooLarge, NotText, Unparsed."""
    if file.base in _UNKNOWN_LOCKS and not file.is_dependency:
        gathering.leave_out(Reason.UNKNOWN_LOCK, file.name)
    for package in _packages(file):
        if isinstance(package, Named):
            gathering.add(package.ecosystem, package.name, package.version, file.name, package.licence)
        else:
            gathering.leave_out(Reason.INEXACT, f"{file.name}: {package.name}")


def _packages(file: FoundFile) -> _Packages:
    base = file.base
    # What a dependency ships of its own locks, requirements and poms says how that was developed, not what is here.
    if not file.is_dependency:
        if base in _BY_NAME:
            return _BY_NAME[base](_text(file))
        if base == "pom.xml":
            return java_packages.pom_dependencies(read_bytes(file.path, LONGEST_MANIFEST))
        if _REQUIREMENTS.fullmatch(file.name):
            return python_packages.requirements(_text(file))
    if _INSTALLED.fullmatch(file.name):
        return python_packages.metadata(_text(file))
    if base == "package.json" and node_packages.is_installed(file.name):
        return node_packages.package_json(_text(file))
    if _MAVEN.fullmatch(file.name):
        return [java_packages.pom_properties(_text(file))]
    if base.lower().endswith((*JARS, ".whl")):
        return _within(file)
    return []


def _within(file: FoundFile) -> _Packages:
    if file.size > _LARGEST_ARCHIVE:
        raise TooLarge
    with file.path.open("rb") as content:
        yield from packed(content, file.base.lower())


def _text(file: FoundFile) -> str:
    return as_text(read_bytes(file.path, LONGEST_MANIFEST))
