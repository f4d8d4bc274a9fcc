"""Text that came from a stranger, made fit for a report, a terminal and a jsonb column."""

from __future__ import annotations

LONGEST_TEXT = 500
LONGEST_NAME = 1024


def clean(text: str, most: int = LONGEST_TEXT) -> str:
    """On one line, printable, at most `most` characters; bytes that were no UTF-8 and control characters as `\\x1b`."""
    shown = "".join(_shown(character) for character in text[: 2 * most])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\r\n\t":
        return " "
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8 (surrogateescape)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
