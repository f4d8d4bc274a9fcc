"""Java packages: pom.xml, Maven's pom.properties, Gradle's lock file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from app.domain.components import Ecosystem
from app.infrastructure.scanners.inside.naming import Inexact, Named, Unparsed
from app.infrastructure.scanners.inside.stated_licences import Licence, any_of

_DEEPEST = 50
_LONGEST_VALUE = 500
_MOST_PLACES = 20
_PLACE = re.compile(r"\$\{([^{}]{1,200})\}")
_DEPENDENCY = ("dependencies", "dependency")
_MANAGED = ("dependencyManagement", "dependencies", "dependency")
_GRADLE_LINE = re.compile(r"([^:=\s]+):([^:=\s]+):([^:=\s]+)=")


@dataclass(slots=True)
class Pom:
    """What is of interest in a pom.xml. Dependencies are by the names of their elements."""

    own: dict[str, str] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    dependencies: list[dict[str, str]] = field(default_factory=list)
    managed: list[dict[str, str]] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)

    def licence(self) -> Licence:
        """Several licences in a pom are to choose from (maven.apache.org/pom.html#Licenses)."""
        return any_of(self.licences[:20])


def pom_dependencies(content: bytes) -> Iterator[Named | Inexact]:
    """What a pom.xml depends on, with the versions that it, and not a parent elsewhere, determines."""
    pom = read_pom(content)
    values = _values(pom)
    managed = {_coordinates(each, values): each.get("version", "") for each in pom.managed}
    for dependency in pom.dependencies:
        name = _coordinates(dependency, values)
        version = _filled(dependency.get("version") or managed.get(name, ""), values)
        # `[1.0,2.0)` is a range, `[1.0]` one version.
        exact = version[1:-1] if re.fullmatch(r"\[[^,\[\]()]+\]", version) else version
        if not exact or "${" in name + exact or exact[0] in "[(":
            yield Inexact(name)
        else:
            yield Named(Ecosystem.MAVEN, name, exact)


def read_pom(content: bytes) -> Pom:
    """Reads as a stream. Raises Unparsed, also at the first sign of a DTD: no entity is declared, so none expands."""
    reader = _PomReader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Unparsed from error
    return reader.pom


def _refuse(*_: object) -> None:
    raise Unparsed


class _PomReader:
    def __init__(self) -> None:
        self.pom = Pom()
        self._path: list[str] = []
        self._text = ""
        self._dependency: dict[str, str] = {}

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        self._text = ""
        if len(self._path) > _DEEPEST:
            raise Unparsed
        if tuple(self._path[1:]) in (_DEPENDENCY, _MANAGED):
            self._dependency = {}

    def text(self, data: str) -> None:
        if len(self._text) <= _LONGEST_VALUE:
            self._text += data[: _LONGEST_VALUE + 1]

    def end(self, _name: str) -> None:
        path = tuple(self._path[1:])
        value = self._text.strip()
        match path:
            case ("groupId" | "artifactId" | "version",):
                self.pom.own[path[0]] = value
            case ("parent", key):
                self.pom.parent[key] = value
            case ("properties", key):
                self.pom.properties[key] = value
            case ("licenses", "license", "name"):
                self.pom.licences.append(value)
            case ("dependencies", "dependency"):
                self.pom.dependencies.append(self._dependency)
            case ("dependencyManagement", "dependencies", "dependency"):
                self.pom.managed.append(self._dependency)
            case ("dependencies", "dependency", key) | ("dependencyManagement", "dependencies", "dependency", key):
                self._dependency[key] = value
            case _:
                pass
        self._path.pop()
        self._text = ""


def _values(pom: Pom) -> dict[str, str]:
    """What `${...}` can stand for."""
    values = dict(pom.properties)
    for key in ("groupId", "artifactId", "version"):
        own = pom.own.get(key) or pom.parent.get(key, "")
        values.update({f"project.{key}": own, f"pom.{key}": own})
        values[f"project.parent.{key}"] = pom.parent.get(key, "")
    return values


def _filled(text: str, values: Mapping[str, str]) -> str:
    """With its places filled, each by what may again have places; bounded in rounds and in length."""
    for _ in range(_MOST_PLACES):
        place = _PLACE.search(text)
        if place is None or place[1] not in values or len(text) > _LONGEST_VALUE:
            break
        text = text[: place.start()] + values[place[1]] + text[place.end() :]
    return text


def _coordinates(dependency: Mapping[str, str], values: Mapping[str, str]) -> str:
    return ":".join(_filled(dependency.get(key, ""), values) for key in ("groupId", "artifactId"))


def pom_properties(text: str) -> Named:
    """META-INF/maven/group/artifact/pom.properties: what a jar is. Raises Unparsed."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith(("#", "!")))
    values = {key.strip(): value.strip() for key, _, value in pairs}
    try:
        name = f"{values['groupId']}:{values['artifactId']}"
        return Named(Ecosystem.MAVEN, name, values["version"])
    except KeyError as error:
        raise Unparsed from error


def gradle_lock(text: str) -> Iterator[Named]:
    """gradle.lockfile: `group:artifact:version=configurations`."""
    for line in text.splitlines():
        found = _GRADLE_LINE.match(line)
        if found:
            yield Named(Ecosystem.MAVEN, f"{found[1]}:{found[2]}", found[3])
