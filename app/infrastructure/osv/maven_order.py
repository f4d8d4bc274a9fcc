"""The order of Maven's versions (maven.apache.org/pom.html#Version_Order_Specification). Pure.

A version is split at `.`, `-`, `_`, and where digits and letters meet (which counts as `-`); empty tokens are `0`. From
the end of each part before a hyphen, tokens that mean nothing (`0`, `final`, `ga`, `release`) are cut off. The shorter
version is filled up with such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import zip_longest

_PIECES = re.compile(r"([._-]?)(\d+|[^\d._-]+|)")
_QUALIFIERS = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "cr": 3, "snapshot": 4, "": 5, "sp": 6}
_NOTHING = frozenset({"final", "ga", "release"})
_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}
_UNKNOWN = 7


@dataclass(frozen=True, slots=True)
class _Token:
    """`value`: a number, or a qualifier in lower case. `dotted`: a dot is before it."""

    dotted: bool
    value: int | str

    @property
    def means_nothing(self) -> bool:
        return self.value == 0 or self.value == ""

    def key(self) -> tuple[int, int, str]:
        """.qualifier = -qualifier < -number < .number"""
        if isinstance(self.value, int):
            return (2 if self.dotted else 1), self.value, ""
        return 0, _QUALIFIERS.get(self.value, _UNKNOWN), self.value if self.value not in _QUALIFIERS else ""

    def filler(self) -> _Token:
        """What a version that has no more tokens has in this one's place."""
        return _Token(self.dotted, 0 if isinstance(self.value, int) else "")


@total_ordering
class MavenVersion:
    """Any text is one."""

    __slots__ = ("_tokens",)

    def __init__(self, text: str) -> None:
        self._tokens = _trimmed(_tokens(text.lower()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MavenVersion) and self._compared(other) == 0

    def __lt__(self, other: MavenVersion) -> bool:
        return self._compared(other) < 0

    def __hash__(self) -> int:
        return hash(tuple(token.key() for token in self._tokens))

    def _compared(self, other: MavenVersion) -> int:
        for left, right in zip_longest(self._tokens, other._tokens):
            one = (left or right.filler()).key()
            two = (right or left.filler()).key()
            if one != two:
                return -1 if one < two else 1
        return 0


def _tokens(text: str) -> list[_Token]:
    pieces = [(found[1], found[2]) for found in _PIECES.finditer(text) if found[0]]
    tokens = []
    for index, (separator, piece) in enumerate(pieces):
        dotted = separator == "." or (index == 0 and not separator)
        if piece.isascii() and piece.isdigit():
            # No version is a number of a thousand digits; Python would refuse to read one of 4,300.
            tokens.append(_Token(dotted, int(piece[:1000])))
            continue
        # A dot before a qualifier is as good as a hyphen.
        next_separator, next_piece = pieces[index + 1] if index + 1 < len(pieces) else ("", "")
        if next_separator == "" and next_piece[:1].isdigit():
            piece = _SHORT.get(piece, piece)
        tokens.append(_Token(False, "" if piece in _NOTHING else piece) if piece else _Token(dotted, 0))
    return tokens


def _trimmed(tokens: list[_Token]) -> tuple[_Token, ...]:
    """From the end backwards, and again before each hyphen that is left."""
    kept = list(tokens)
    index = len(kept) - 1
    while index > 0:
        if kept[index].means_nothing and (index == len(kept) - 1 or not kept[index + 1].dotted):
            del kept[index]
        index -= 1
    return tuple(kept)
