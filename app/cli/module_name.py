"""The name of the module in a folder or archive, and nothing else of it: the server judges the rest.

So this reads leniently where `agent.archive` reads strictly (an archive that the server will refuse still has a name to
refuse it under), and safely: bounded, writing nothing, building nothing from YAML.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

import yaml

from agent.manifest import MANIFEST_NAME, MAXIMUM_MANIFEST_BYTES
from app.cli.errors import UsageProblem

_BLOCK = 512
_CHUNK = 1 << 20
_MOST_BYTES = 1 << 30  # unpacked, before we stop looking
_MOST_ENTRIES = 200_000
_DEEPEST = 100  # nesting; the parsers' time grows with its square
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it
_NAMES = frozenset({MANIFEST_NAME.encode(), b"./" + MANIFEST_NAME.encode()})


def in_folder(folder: Path) -> str:
    """The module's name. Raises UsageProblem where there is none."""
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise UsageProblem(f"{folder} has no {MANIFEST_NAME}: `hotswap init DIR` makes a module") from None
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}") from None
    return _named(content, str(path))


def in_archive(path: Path) -> str:
    """The module's name. Raises UsageProblem where there is none, and for what is no .tar.gz."""
    try:
        with gzip.open(path, "rb") as unpacked:
            content = _manifest(unpacked, path)
    except FileNotFoundError:
        raise UsageProblem(f"there is no {path}") from None
    except (gzip.BadGzipFile, zlib.error):
        raise UsageProblem(f"{path} is not a .tar.gz") from None
    except EOFError:
        raise UsageProblem(f"{path} is truncated, and no {MANIFEST_NAME} stands before its end") from None
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror or error}") from None
    return _named(content, f"{MANIFEST_NAME} in {path}")


def _named(content: bytes, where: str) -> str:
    name = name_of(content)
    if not name:
        raise UsageProblem(f"{where} has no name: it starts like 'name: my-module'")
    return name


def name_of(content: bytes) -> str | None:
    """The value of `name` in a YAML mapping; None without one, or where YAML breaks before it."""
    depth, key, is_key = 0, None, True
    try:
        for event in yaml.parse(content, Loader=_LOADER):
            if isinstance(event, yaml.ScalarEvent) and depth == 1:
                if is_key:
                    key = event.value
                elif key == "name":
                    return str(event.value)
                is_key = not is_key
            elif isinstance(event, yaml.CollectionStartEvent):
                if depth == 0 and not isinstance(event, yaml.MappingStartEvent):
                    return None
                depth += 1
                if depth > _DEEPEST:
                    return None
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
                is_key = is_key if depth != 1 else not is_key
            elif isinstance(event, yaml.AliasEvent) and depth == 1:
                is_key = not is_key
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return None


def _manifest(source: BinaryIO | gzip.GzipFile, path: Path) -> bytes:
    """The content of the first root entry of that name. Names longer than a header's field cannot be it."""
    read = 0
    for _ in range(_MOST_ENTRIES):
        header = source.read(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            break
        size = _size(header)
        if size is None:
            break
        plain = header[156:157] in (b"0", b"\0")
        if plain and header[:100].partition(b"\0")[0] in _NAMES and not header[345:500].strip(b"\0"):
            return source.read(min(size, MAXIMUM_MANIFEST_BYTES + 1))
        padded = size + -size % _BLOCK
        read += padded + _BLOCK
        if read > _MOST_BYTES:
            break
        _skip(source, padded)
    raise UsageProblem(f"{path} has no {MANIFEST_NAME} at its root")


def _size(header: bytes) -> int | None:
    """The size field: octal, or base 256 where its first bit is set. None for neither."""
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def _skip(source: BinaryIO | gzip.GzipFile, count: int) -> None:
    while count > 0:
        chunk = source.read(min(count, _CHUNK))
        if not chunk:
            return
        count -= len(chunk)
