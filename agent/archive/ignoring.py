"""What of a folder does not go into its archive.

`.hotswapignore` has one pattern a line, like `.gitignore`: `*` and `?` stay within a name, `**` crosses folders, a
trailing `/` means folders only, a pattern with a `/` inside or in front starts at the root, others match at any depth,
`!` takes back in (not below a folder that is left out), `#` starts a comment. The last pattern that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.archive.errors import ArchiveInvalid

IGNORE_FILE = ".hotswapignore"
ALWAYS = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "__pycache__",
    "*.pyc",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".DS_Store",
    "/" + IGNORE_FILE,
)


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re.Pattern[str]
    folders_only: bool
    takes_back: bool


class Ignored:
    """Decides about paths, relative to the folder that is packed."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self._patterns = [_pattern(line) for line in (*ALWAYS, *lines) if line.strip() and not line.startswith("#")]

    @classmethod
    def of_file(cls, content: bytes) -> Ignored:
        """The rules of a `.hotswapignore`; raises `ArchiveInvalid` where it is not text."""
        if len(content) > 64 * 1024:
            raise ArchiveInvalid("has more than 64 KiB", IGNORE_FILE)
        try:
            return cls(content.decode("utf-8").splitlines())
        except UnicodeDecodeError as error:
            raise ArchiveInvalid("is not text in UTF-8", IGNORE_FILE) from error

    def matches(self, path: str, is_folder: bool) -> bool:
        """Whether this file or folder is left out."""
        decision = False
        for pattern in self._patterns:
            if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(path):
                decision = not pattern.takes_back
        return decision


def _pattern(line: str) -> _Pattern:
    text = line.strip()
    takes_back = text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    body = "".join(_translated(text.removeprefix("/")))
    return _Pattern(re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL), folders_only, takes_back)


def _translated(text: str) -> list[str]:
    position = 0
    out: list[str] = []
    while position < len(text):
        for glob, expression in (("**/", "(?:.*/)?"), ("**", ".*"), ("*", "[^/]*"), ("?", "[^/]")):
            if text.startswith(glob, position):
                out.append(expression)
                position += len(glob)
                break
        else:
            out.append(re.escape(text[position]))
            position += 1
    return out
