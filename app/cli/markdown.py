"""Foreign text in Markdown: it says what it says, and can neither mark up, link, mention, nor leave its table cell.

Escaping by backslash is not enough: what a page makes of `@name`, `#1`, URLs and `$..$` differs between GitHub, GitLab
and others, and happens after Markdown is read. So every such sign becomes a character reference (CommonMark 0.31, 2.5:
it is never taken for structure), and all of it stands in a <code> element, whose text these pages leave alone.
"""

from __future__ import annotations

import re
import unicodedata

from app.cli.output import one_line

# All but these is referenced; of a colon and a full stop those by which a bare URL is known.
_SIGNS = re.compile(r"""[^\w\s.,;:/+=()?%'"-]|_|:(?=/)""", re.ASCII)
_WWW = re.compile(r"(?<=\bwww)\.", re.IGNORECASE)
# Characters that are not seen, or turn the direction of what follows.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def foreign(value: object, most: int = 200) -> str:
    """A value of somebody else's as code, on one line, cut after `most` characters; `-` for nothing."""
    text = "".join(letter for letter in one_line(value) if unicodedata.category(letter) not in _UNSEEN)
    text = " ".join(text.split())
    if not text or text == "-":
        return "-"
    if len(text) > most:
        text = text[: most - 1] + "…"
    return f"<code>{_referenced(text)}</code>"


def _referenced(text: str) -> str:
    coded = _SIGNS.sub(lambda sign: f"&#{ord(sign[0])};" if sign[0].isascii() else sign[0], text)
    return _WWW.sub("&#46;", coded)


def row(*cells: str) -> str:
    """A line of a table; the cells are Markdown."""
    return f"| {' | '.join(cells)} |"
