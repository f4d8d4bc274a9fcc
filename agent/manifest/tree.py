"""YAML and JSON as one plain tree in which every node knows its line.

YAML is read event by event, never loaded: no tag makes an object, no alias multiplies a node, and a plain scalar
keeps the text that its author wrote, so that `mode: 0755`, `version: 1.10` and `ENABLED: yes` are what they look like.
Nesting is bounded before any recursive code sees the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

from agent.manifest.errors import ManifestInvalid, Problem

MAXIMUM_MANIFEST_BYTES = 64 * 1024
MAXIMUM_DEPTH = 20

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()


class ScalarKind(StrEnum):
    """What YAML 1.1 makes of a scalar, in words for its author."""

    TEXT = "a text"
    NUMBER = "a number"
    BOOLEAN = "a boolean"
    DATE = "a date"
    EMPTY = "empty"


_KINDS = {
    "tag:yaml.org,2002:int": ScalarKind.NUMBER,
    "tag:yaml.org,2002:float": ScalarKind.NUMBER,
    "tag:yaml.org,2002:bool": ScalarKind.BOOLEAN,
    "tag:yaml.org,2002:timestamp": ScalarKind.DATE,
    "tag:yaml.org,2002:null": ScalarKind.EMPTY,
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: its text as written, and what YAML takes it for."""

    line: int
    text: str
    kind: ScalarKind


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    line: int
    values: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping, in order; a key that stands twice is here twice."""

    line: int
    pairs: list[tuple[Scalar, Node]] = field(default_factory=list)


Node = Scalar | Items | Entries


def read_yaml(content: bytes) -> Node:
    """The tree of one YAML document; raises `ManifestInvalid` with a single problem."""
    text = _decoded(content)
    try:
        return _Builder().build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _refused(*_explained(error, text)) from error
    except yaml.YAMLError as error:
        raise _refused(1, f"is not YAML: {str(error).splitlines()[0][:200]}") from error


def read_json(value: Any) -> Node:
    """The tree of JSON values; lines are 0. Raises `ManifestInvalid` where it is nested too deeply or no JSON."""
    return _of_json(value, depth=0)


def _refused(line: int, message: str) -> ManifestInvalid:
    return ManifestInvalid([Problem(line=line, path="", message=message)])


def _decoded(content: bytes) -> str:
    if len(content) > MAXIMUM_MANIFEST_BYTES:
        raise _refused(0, f"has {len(content)} bytes; a manifest has at most {MAXIMUM_MANIFEST_BYTES}")
    if b"\0" in content:
        raise _refused(content[: content.index(b"\0")].count(b"\n") + 1, "contains a null byte")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(content[: error.start].count(b"\n") + 1, "is not text in UTF-8") from error


class _Builder:
    """Makes nodes of events, with a stack of the collections that are open."""

    def __init__(self) -> None:
        self._open: list[Items | Entries] = []
        self._keys: list[Scalar | None] = []
        self._root: Node | None = None

    def build(self, events: Iterator[Any]) -> Node:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise _refused(line, "holds a second document; a manifest is one")
                case yaml.AliasEvent():
                    raise _refused(line, f"uses the alias *{str(event.anchor)[:60]}; aliases are not allowed")
                case yaml.ScalarEvent():
                    _refuse_properties(event, line)
                    self._add(_scalar(event, line), line)
                case yaml.SequenceStartEvent():
                    _refuse_properties(event, line)
                    self._enter(Items(line), line)
                case yaml.MappingStartEvent():
                    _refuse_properties(event, line)
                    self._enter(Entries(line), line)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._open.pop()
                    self._keys.pop()
        if self._root is None:
            raise _refused(1, "is empty; it needs at least name, version and kind")
        return self._root

    def _enter(self, node: Items | Entries, line: int) -> None:
        if len(self._open) >= MAXIMUM_DEPTH:
            raise _refused(line, f"is nested more than {MAXIMUM_DEPTH} levels deep")
        self._add(node, line)
        self._open.append(node)
        self._keys.append(None)

    def _add(self, node: Node, line: int) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Items):
            parent.values.append(node)
            return
        key = self._keys[-1]
        if key is not None:
            parent.pairs.append((key, node))
            self._keys[-1] = None
        elif isinstance(node, Scalar):
            self._keys[-1] = node
        else:
            raise _refused(line, "has a list or mapping in the place of a key; '{{...}}' needs quotes")


def _refuse_properties(event: Any, line: int) -> None:
    if event.tag is not None:
        raise _refused(line, f"uses the tag {event.tag[:60]!r}; tags are not allowed, write the plain value")
    if event.anchor is not None:
        raise _refused(line, f"defines the anchor &{event.anchor[:60]}; anchors are not allowed, write the value out")


def _scalar(event: Any, line: int) -> Scalar:
    if event.style:  # quoted or a block; the two parsers of PyYAML give None or "" for a plain one
        return Scalar(line, event.value, ScalarKind.TEXT)
    tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False))
    return Scalar(line, event.value, _KINDS.get(tag, ScalarKind.TEXT))


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line of a syntax error, and a sentence with a hint for what people most often get wrong."""
    mark = error.problem_mark or error.context_mark
    if error.problem is not None and "end of stream" in error.problem:
        mark = error.context_mark or mark  # where the quote or bracket was opened says more than the last line
    line = mark.line + 1 if mark is not None else 1
    sentence = ", ".join(part for part in (error.context, error.problem) if part)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        hint = "indent with spaces, not with tabs"
    elif any(mark in written for mark in (": >", ": @", ": %", ": `", ": [::", ": *", ": &", "{{")):
        hint = "a value that starts with one of > @ % ` [ { * & needs quotes"
    else:
        hint = "check the indentation, and quote values that contain ': ' or '#'"
    return line, f"is not YAML ({sentence}); {hint}"


def _of_json(value: Any, depth: int) -> Node:
    if depth > MAXIMUM_DEPTH:
        raise _refused(0, f"is nested more than {MAXIMUM_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return Entries(0, [(_of_json_key(key), _of_json(item, depth + 1)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return Items(0, [_of_json(item, depth + 1) for item in value])
    if isinstance(value, str):
        return Scalar(0, value, ScalarKind.TEXT)
    if value is None:
        return Scalar(0, "", ScalarKind.EMPTY)
    if isinstance(value, bool):
        return Scalar(0, json.dumps(value), ScalarKind.BOOLEAN)
    if isinstance(value, int | float):
        return Scalar(0, repr(value), ScalarKind.NUMBER)
    raise _refused(0, f"holds a {type(value).__name__}, which is no JSON")


def _of_json_key(key: Any) -> Scalar:
    if not isinstance(key, str):
        raise _refused(0, f"has a {type(key).__name__} in the place of a key")
    return Scalar(0, key, ScalarKind.TEXT)
