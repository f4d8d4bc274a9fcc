"""Reading a tree while collecting everything that is wrong with it.

A decoder takes a node and the place where it stands and gives a value. It raises `Wrong` when the node is not what it
should be; what is wrong further down is reported to the place directly, so that one run names every bad field. Where
something was wrong a placeholder stands in; nothing built from placeholders ever leaves `parse_manifest`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from agent.manifest.errors import ManifestInvalid, Problem
from agent.manifest.tree import Entries, Items, Node, Scalar, ScalarKind

T = TypeVar("T")

_MAXIMUM_PROBLEMS = 50


class Wrong(Exception):
    """This node is not what it should be; the text is the rest of a sentence that starts with the field's path."""


class Problems:
    """All that was found so far."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, line: int, path: str, message: str) -> None:
        """Keep a problem; the fifty first are kept, so that a hostile file cannot make an endless answer."""
        if len(self._found) < _MAXIMUM_PROBLEMS:
            self._found.append(Problem(line, path, message))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise `ManifestInvalid` with all of them, if there are any."""
        if self._found:
            raise ManifestInvalid(self._found)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the manifest a node stands: its path, and where problems go."""

    path: str
    problems: Problems

    def child(self, key: str) -> Place:
        """The place of a mapping's value."""
        shown = key if key.isprintable() and len(key) <= 80 else ascii(key[:80])
        return Place(f"{self.path}.{shown}" if self.path else shown, self.problems)

    def item(self, index: int) -> Place:
        """The place of a list's item."""
        return Place(f"{self.path}[{index}]", self.problems)

    def report(self, node: Node, message: str) -> None:
        """Keep a problem with `node`."""
        self.problems.add(node.line, self.path, message)


Decode = Callable[[Node, Place], T]


def decoded(node: Node, place: Place, decode: Decode[T], placeholder: T) -> T:
    """What `decode` makes of the node, or the placeholder after reporting what was wrong."""
    try:
        return decode(node, place)
    except Wrong as error:
        place.report(node, str(error))
        return placeholder


def described(node: Node) -> str:
    """What a node is, for the end of "must be a list, not ..."."""
    match node:
        case Items():
            return "a list"
        case Entries():
            return "a mapping"
        case Scalar(kind=ScalarKind.EMPTY):
            return "empty"
        case Scalar(kind=kind, text=text):
            short = text if len(text) <= 40 else text[:37] + "..."
            return f"{kind.value} ({short!r})"


def pairs(node: Node, place: Place, wanted: str = "a mapping (key: value)") -> Iterator[tuple[Scalar, Node]]:
    """A mapping's pairs, each key once; a key that stands again is reported. Raises `Wrong` for anything else."""
    if not isinstance(node, Entries):
        raise Wrong(f"must be {wanted}, not {described(node)}")
    return _unique(node, place)


def _unique(node: Entries, place: Place) -> Iterator[tuple[Scalar, Node]]:
    lines: dict[str, int] = {}
    for key, value in node.pairs:
        if key.text in lines:
            first = f" (first in line {lines[key.text]})" if key.line else ""
            place.child(key.text).report(key, f"stands twice{first}; keep one")
            continue
        lines[key.text] = key.line
        yield key, value


class Section:
    """A mapping with known keys. Ask for each key once, then `close` it, which reports the keys nobody asked for."""

    def __init__(self, node: Node, place: Place, wanted: str = "a mapping (key: value)") -> None:
        self._node = node
        self._place = place
        self._pairs = {key.text: (key, value) for key, value in pairs(node, place, wanted)}
        self._known: list[str] = []

    def optional(self, key: str, decode: Decode[T], default: T) -> T:
        """The key's value, or `default` where it is not given."""
        self._known.append(key)
        if key not in self._pairs:
            return default
        name, value = self._pairs[key]
        place = self._place.child(key)
        if isinstance(value, Scalar) and value.kind is ScalarKind.EMPTY:
            place.report(name, "is empty; give it a value or leave the line out")
            return default
        return decoded(value, place, decode, default)

    def required(self, key: str, decode: Decode[T], placeholder: T, example: str) -> T:
        """The key's value; reports it as missing, with an example of how to write it."""
        if key not in self._pairs:
            self._known.append(key)
            self._place.child(key).report(self._node, f"is missing; write for example '{example}'")
            return placeholder
        return self.optional(key, decode, placeholder)

    def given(self, key: str) -> bool:
        """Whether the key stands in the file."""
        return key in self._pairs

    def refuse(self, key: str, message: str) -> None:
        """Report a problem with a key as a whole, at its line, or at the section's where the key is not given."""
        node = self._pairs[key][0] if key in self._pairs else self._node
        self._place.child(key).report(node, message)

    def close(self) -> None:
        """Report the keys that are not known here, each with the known one that looks most like it."""
        for key, _ in self._pairs.values():
            if key.text not in self._known:
                self._place.child(key.text).report(key, f"is not known here; {self._suggestion(key.text)}")

    def _suggestion(self, unknown: str) -> str:
        folded = {known.casefold(): known for known in self._known}
        plain = unknown[:80].replace("_", "").replace("-", "").casefold()
        close = difflib.get_close_matches(plain, folded, n=1, cutoff=0.6)
        if close:
            return f"did you mean '{folded[close[0]]}'?"
        return "known are " + ", ".join(self._known)
