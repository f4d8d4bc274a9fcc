"""What a release is made of: the packages that its lock files, manifests and installed metadata name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote


class Ecosystem(StrEnum):
    """Where a package comes from; the words are those of the OSV schema."""

    PYPI = "PyPI"
    NPM = "npm"
    MAVEN = "Maven"


@dataclass(frozen=True, slots=True)
class Component:
    """One version of one package.

    `name` as the ecosystem writes it: `@scope/name` for npm, `group:artifact` for Maven. `found` is the file, within
    the archive, that names it (the first of several). `licence` is an SPDX expression, where the package states one
    that can be understood; otherwise `licence_words` are its own words, if it has any.
    """

    ecosystem: Ecosystem
    name: str
    version: str
    found: str
    licence: str | None = None
    licence_words: str | None = None

    @property
    def key(self) -> tuple[Ecosystem, str]:
        """What it is called in a vulnerability database."""
        return self.ecosystem, normal_name(self.ecosystem, self.name)

    @property
    def package(self) -> str:
        """`pypi/requests`, `npm/@scope/name`, `maven/group:artifact`: short, for rules and people."""
        return f"{self.ecosystem.value.lower()}/{normal_name(self.ecosystem, self.name)}"

    @property
    def purl(self) -> str:
        """Its package URL (github.com/package-url/purl-spec)."""
        parts = normal_name(self.ecosystem, self.name).replace(":", "/").split("/")
        name = "/".join(quote(part, safe="") for part in parts)
        return f"pkg:{self.ecosystem.value.lower()}/{name}@{quote(self.version, safe='')}"


def normal_name(ecosystem: Ecosystem, name: str) -> str:
    """For PyPI the normal form of its simple index (PEP 503); elsewhere names are what they are."""
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem is Ecosystem.PYPI else name
