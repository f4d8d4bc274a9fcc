"""Decoders of single fields: a node in, a value of the model out, or `Wrong` with a sentence."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar

from agent.manifest import scalars
from agent.manifest.model import Command
from agent.manifest.place import Decode, Place, Wrong, decoded, described, pairs
from agent.manifest.tree import Items, Node, Scalar, ScalarKind
from agent.manifest.versions import VersionInvalid, VersionRange, parse_version
from agent.module_names import is_module_name

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?")
_OWNER = re.compile(r"[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?")
_MODE = re.compile(r"(?:0o)?0?([0-7]{3})")
_URL_PATH = re.compile(r"/[!-~]{0,1023}")
_MAXIMUM_ARGUMENTS = 256
_MAXIMUM_TEXT = 8192


def text(node: Node, _place: Place) -> str:
    """A text. What YAML takes for a number, boolean or date must be quoted, so that nobody gets `no` for "no"."""
    if not isinstance(node, Scalar):
        raise Wrong(f"must be a text, not {described(node)}")
    if node.kind is not ScalarKind.TEXT:
        raise Wrong(f'must be a text, and YAML reads this as {described(node)}; put it in quotes: "{node.text[:60]}"')
    _refuse_unusable(node.text)
    return node.text


def written(node: Node, _place: Place) -> str:
    """A single value as it stands in the file: `8080` and `yes` are those characters (values of environments)."""
    if not isinstance(node, Scalar):
        raise Wrong(f"must be a single value, not {described(node)}")
    if node.kind is ScalarKind.EMPTY and node.text:
        raise Wrong(f'is null; write "" for an empty value or "{node.text}" for that word')
    _refuse_unusable(node.text)
    return node.text


def _refuse_unusable(value: str) -> None:
    if "\0" in value:
        raise Wrong("contains a null character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Wrong("contains half of a surrogate pair, which is no character")
    if len(value) > _MAXIMUM_TEXT:
        raise Wrong(f"has {len(value)} characters; at most {_MAXIMUM_TEXT} are allowed")


def module_name(node: Node, place: Place) -> str:
    """The name of a module."""
    name = text(node, place)
    if not is_module_name(name):
        raise Wrong(f"must be 3 to 64 of a-z, 0-9 and '-', not starting or ending with '-' (is {name[:80]!r})")
    return name


def version(node: Node, place: Place) -> str:
    """A semantic version. `1.10` without quotes is a number to YAML, and would lose its zero elsewhere."""
    if isinstance(node, Scalar) and node.kind is ScalarKind.NUMBER and node.line:
        whole = node.text + ".0" * max(0, 2 - node.text.count("."))
        raise Wrong(f'is the number {node.text[:20]} to YAML; write three numbers, in quotes: "{whole[:30]}"')
    value = text(node, place)
    try:
        parse_version(value)
    except VersionInvalid as error:
        raise Wrong(str(error)) from error
    return value


def version_range(node: Node, place: Place) -> VersionRange:
    """A range of versions; a single version may stand without quotes where YAML reads it as a text."""
    try:
        return VersionRange.parse(text(node, place))
    except VersionInvalid as error:
        raise Wrong(str(error)) from error


def duration(minimum: float, maximum: float) -> Decode[float]:
    """A duration within bounds (both included), in seconds."""

    def decode(node: Node, place: Place) -> float:
        seconds = _of_text(node, "a duration like 30, '90s' or '5m'", scalars.parse_duration)
        if not minimum <= seconds <= maximum:
            raise Wrong(f"must be from {minimum:g} to {maximum:g} seconds, not {seconds:g}")
        return seconds

    return decode


def number(minimum: float, maximum: float) -> Decode[float]:
    """A number within bounds (both included)."""

    def decode(node: Node, place: Place) -> float:
        value = _of_text(node, "a number", scalars.parse_number)
        if not minimum <= value <= maximum:
            raise Wrong(f"must be from {minimum:g} to {maximum:g}, not {value:g}")
        return value

    return decode


def integer(minimum: int, maximum: int) -> Decode[int]:
    """A whole number within bounds (both included)."""
    within = number(minimum, maximum)

    def decode(node: Node, place: Place) -> int:
        value = within(node, place)
        if not value.is_integer():
            raise Wrong(f"must be a whole number, not {value:g}")
        return int(value)

    return decode


def mebibytes(node: Node, place: Place) -> int:
    """A size in MiB: a plain number of them, or a size with its unit (rounded up)."""
    if isinstance(node, Scalar) and node.kind is ScalarKind.NUMBER:
        return integer(1, 2**24)(node, place)
    size = _of_text(node, "a number of MiB, or a size like '512MiB'", scalars.parse_size)
    return integer(1, 2**24)(Scalar(node.line, str(-(-size // 2**20)), ScalarKind.NUMBER), place)


def _of_text(node: Node, wanted: str, parse: Callable[[str], T]) -> T:
    if not isinstance(node, Scalar) or node.kind in {ScalarKind.BOOLEAN, ScalarKind.DATE, ScalarKind.EMPTY}:
        raise Wrong(f"must be {wanted}, not {described(node)}")
    try:
        return parse(node.text)
    except ValueError as error:
        raise Wrong(f"{error}, not {node.text[:60]!r}" if str(error).startswith("must be") else str(error)) from error


def one_of(kinds: type[E]) -> Decode[E]:
    """A word of an enumeration, in any case."""

    def decode(node: Node, place: Place) -> E:
        word = text(node, place)
        for kind in kinds:
            if kind.value.casefold() == word.casefold():
                return kind
        raise Wrong(f"must be one of {', '.join(kind.value for kind in kinds)}, not {word[:60]!r}")

    return decode


def command(node: Node, place: Place) -> Command:
    """A program and its arguments, as a list; no shell ever splits a text for a module."""
    if isinstance(node, Scalar) and node.kind is ScalarKind.TEXT:
        raise Wrong(f"must be a list of the program and its arguments, like {_as_list(node.text)}")
    if not isinstance(node, Items):
        raise Wrong(f'must be a list like ["python3", "server.py"], not {described(node)}')
    if not node.values:
        raise Wrong("is an empty list; its first item is the program")
    if len(node.values) > _MAXIMUM_ARGUMENTS:
        raise Wrong(f"has {len(node.values)} items; at most {_MAXIMUM_ARGUMENTS} are allowed")
    items = tuple(decoded(item, place.item(index), text, "") for index, item in enumerate(node.values))
    first = node.values[0]
    if isinstance(first, Scalar) and first.kind is ScalarKind.TEXT and not first.text.strip():
        place.item(0).report(node.values[0], "is the program to run, and must not be empty")
    return items


def _as_list(line: str) -> str:
    try:
        words = shlex.split(line)[:8]
    except ValueError:
        words = line.split()[:8]
    return "[" + ", ".join(f'"{word[:40]}"' for word in words) + "]"


def url_path(node: Node, place: Place) -> str:
    """The path of a request, from its `/`, with a query if there is one."""
    path = text(node, place)
    if not _URL_PATH.fullmatch(path) or "#" in path:
        raise Wrong(f"must be a path like /healthz: a '/', then at most 1023 ASCII characters without spaces or '#' "
                    f"(is {path[:80]!r})")
    return path


def relative_folder(node: Node, place: Place) -> str:
    """A folder within the release."""
    path = text(node, place)
    clean = posixpath.normpath(path)
    if not path.strip() or path.startswith("/") or clean in {".", ".."} or clean.startswith("../"):
        raise Wrong(f"must be a folder within the module, like 'uploads' (is {path[:80]!r})")
    if not path.isprintable() or len(path) > 512:
        raise Wrong("must be at most 512 printable characters")
    return clean


def path_pattern(node: Node, _place: Place) -> str:
    """Files within the module, `*` within a name, `**` for folders between."""
    pattern = text(node, _place)
    parts = pattern.split("/")
    if not pattern.strip() or ".." in parts or "" in parts:
        raise Wrong(f"must be a pattern of files within the module, like 'reports/*.xml' (is {pattern[:80]!r})")
    if not pattern.isprintable() or len(pattern) > 512:
        raise Wrong("must be at most 512 printable characters")
    return pattern


_SYSTEM_FOLDERS = frozenset(
    {
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc",
        "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local",
        "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/log", "/var/run", "/var/tmp",
    }
)
_KERNEL_FOLDERS = ("/dev/", "/proc/", "/sys/")


def destination(node: Node, place: Place) -> str:
    """A folder of the node, to be replaced as a whole; never one that the system itself needs."""
    path = text(node, place)
    if not path.startswith("/") or ".." in path.split("/"):
        raise Wrong(f"must be an absolute path without '..', like /srv/site (is {path[:80]!r})")
    if not path.isprintable() or len(path) > 512:
        raise Wrong("must be at most 512 printable characters")
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean in _SYSTEM_FOLDERS or clean.startswith(_KERNEL_FOLDERS):
        raise Wrong(f"is {clean}, a folder of the system; a release replaces its destination as a whole, so name one "
                    f"of its own, like /srv/site")
    return clean


def account(node: Node, place: Place) -> str:
    """The name of a user of the node."""
    name = text(node, place)
    if not _ACCOUNT.fullmatch(name):
        raise Wrong(f"must be the name of a user, like www-data (is {name[:60]!r})")
    return name


def owner(node: Node, place: Place) -> str:
    """`user` or `user:group`."""
    name = text(node, place)
    if not _OWNER.fullmatch(name):
        raise Wrong(f"must be a user, or user:group, like www-data (is {name[:60]!r})")
    return name


def mode(node: Node, _place: Place) -> int:
    """Permission bits, three octal digits with or without a 0 before them; quoted or not."""
    match = _MODE.fullmatch(node.text) if isinstance(node, Scalar) else None
    if match is None:
        shown = described(node)
        raise Wrong(f'must be octal permissions like "0755", without setuid, setgid or sticky bit, not {shown}')
    return int(match[1], 8)


def items(decode: Decode[T], placeholder: T, maximum: int, wanted: str) -> Decode[tuple[T, ...]]:
    """A list of at most `maximum` values of one sort."""

    def decode_items(node: Node, place: Place) -> tuple[T, ...]:
        if not isinstance(node, Items):
            raise Wrong(f"must be {wanted}, not {described(node)}")
        if len(node.values) > maximum:
            raise Wrong(f"has {len(node.values)} items; at most {maximum} are allowed")
        return tuple(decoded(item, place.item(index), decode, placeholder) for index, item in enumerate(node.values))

    return decode_items


def named(
    check_key: Callable[[str], str | None], decode: Decode[T], placeholder: T, maximum: int, wanted: str
) -> Decode[Mapping[str, T]]:
    """A mapping whose keys are names of the author's choice; `check_key` gives what is wrong with one, or None."""

    def decode_named(node: Node, place: Place) -> Mapping[str, T]:
        values: dict[str, T] = {}
        for key, value in pairs(node, place, wanted):
            wrong = check_key(key.text)
            if wrong is not None:
                place.child(key.text).report(key, wrong)
            values[key.text] = decoded(value, place.child(key.text), decode, placeholder)
        if len(values) > maximum:
            raise Wrong(f"has {len(values)} entries; at most {maximum} are allowed")
        return values

    return decode_named
