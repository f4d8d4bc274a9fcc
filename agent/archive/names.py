"""Names of entries: from bytes to a path that stays where it is put."""

from __future__ import annotations

import unicodedata

from agent.archive.errors import ArchiveInvalid
from agent.archive.limits import Limits

_MAXIMUM_COMPONENT_BYTES = 255  # NAME_MAX of every Linux file system


def decoded(raw: bytes, what: str) -> str:
    """The text of a name; raises `ArchiveInvalid` for what is not UTF-8 or holds control characters."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveInvalid(f"has {what} that is not UTF-8", raw.decode("utf-8", "backslashreplace")) from error
    # A line break or an escape sequence in a name is an attack on logs and terminals.
    if not name.isprintable() and any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in name):
        raise ArchiveInvalid(f"has {what} with control characters", name)
    return name


def relative_path(raw: bytes, limits: Limits) -> str:
    """An entry's path, normalised; "" for the root itself (`./`). Raises `ArchiveInvalid` for what leads outside."""
    name = decoded(raw, "a name")
    if len(raw) > limits.path_bytes:
        raise ArchiveInvalid(f"has a name of {len(raw)} bytes; at most {limits.path_bytes} are allowed", name)
    if name.startswith("/"):
        raise ArchiveInvalid("is an absolute path; names are relative to the module's folder", name)
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ArchiveInvalid("contains '..', which could lead out of the module's folder", name)
    if not name:
        raise ArchiveInvalid("holds an entry without a name")
    if len(parts) > limits.depth:
        raise ArchiveInvalid(f"is {len(parts)} folders deep; at most {limits.depth} are allowed", name)
    for part in parts:
        if len(part.encode("utf-8")) > _MAXIMUM_COMPONENT_BYTES:
            raise ArchiveInvalid(f"has a part of more than {_MAXIMUM_COMPONENT_BYTES} bytes in its name", name)
    return "/".join(parts)


def link_text(raw: bytes, entry: str) -> str:
    """What a symbolic link says; raises `ArchiveInvalid` for what is empty, absolute or too long."""
    text = decoded(raw, "a link")
    if not text:
        raise ArchiveInvalid("is a link to nothing", entry)
    if text.startswith("/"):
        raise ArchiveInvalid(f"is a link to the absolute path {text[:80]!r}, outside the module's folder", entry)
    if len(raw) > 1024:
        raise ArchiveInvalid("is a link of more than 1024 bytes", entry)
    return text
