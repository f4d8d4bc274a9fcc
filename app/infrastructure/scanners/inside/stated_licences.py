"""The licence that a package states, as an SPDX expression where it can be understood.

Known names are put into SPDX ids only where they mean one licence: `BSD` or `GPL` alone stay what they are, words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from app.infrastructure.scanners.wording import clean

# SPDX expression, or else the package's own words.
Licence = tuple[str | None, str | None]
NOT_STATED: Licence = (None, None)

_LONGEST = 300
_NAMES = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "mit license": "MIT",
    "expat license": "MIT",
    "isc license": "ISC",
    "isc license iscl": "ISC",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "modified bsd license": "BSD-3-Clause",
    "mozilla public license 2.0": "MPL-2.0",
    "mozilla public license 2.0 mpl 2.0": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "eclipse public license 1.0": "EPL-1.0",
    "eclipse public license 2.0": "EPL-2.0",
    "eclipse distribution license 1.0": "BSD-3-Clause",
    "edl 1.0": "BSD-3-Clause",
    "epl 2.0": "EPL-2.0",
    "the unlicense": "Unlicense",
    "the unlicense unlicense": "Unlicense",
    "cc0 1.0 universal": "CC0-1.0",
    "gnu general public license v2 gplv2": "GPL-2.0-only",
    "gnu general public license v2 or later gplv2+": "GPL-2.0-or-later",
    "gnu general public license v3 gplv3": "GPL-3.0-only",
    "gnu general public license v3 or later gplv3+": "GPL-3.0-or-later",
    "gnu lesser general public license v2 lgplv2": "LGPL-2.0-only",
    "gnu lesser general public license v2 or later lgplv2+": "LGPL-2.0-or-later",
    "gnu lesser general public license v3 lgplv3": "LGPL-3.0-only",
    "gnu lesser general public license v3 or later lgplv3+": "LGPL-3.0-or-later",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu affero general public license v3 or later agplv3+": "AGPL-3.0-or-later",
    "gnu lesser general public license 2.1": "LGPL-2.1-only",
    "gnu lesser general public license 3.0": "LGPL-3.0-only",
    "gnu general public license 2.0": "GPL-2.0-only",
    "gnu general public license 3.0": "GPL-3.0-only",
    "gplv2": "GPL-2.0-only",
    "gplv3": "GPL-3.0-only",
    "gpl v3": "GPL-3.0-only",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "agplv3": "AGPL-3.0-only",
    "lgplv3": "LGPL-3.0-only",
}


def licence(stated: object) -> Licence:
    """Of one text, which may be anything: an expression, a name, a whole licence."""
    if not isinstance(stated, str) or not stated.strip():
        return NOT_STATED
    text = " ".join(stated.split())
    known = _NAMES.get(_plain(text))
    if known:
        return known, None
    # The whole text of a licence in the field of its name: its first words say which.
    return (_expression(text), None) if _expression(text) else (None, clean(text, _LONGEST))


def all_of(stated: Iterable[object]) -> Licence:
    """Of several that all apply; in words if one of them is not understood."""
    licences = [each for each in (licence(one) for one in stated) if each != NOT_STATED]
    if not licences:
        return NOT_STATED
    expressions = sorted({expression for expression, _ in licences if expression})
    if len(expressions) < len(set(licences)):
        return None, clean("; ".join(expression or words or "" for expression, words in licences), _LONGEST)
    if len(expressions) == 1:
        return expressions[0], None
    return " AND ".join(f"({each})" if " OR " in each else each for each in expressions), None


def any_of(stated: Iterable[object]) -> Licence:
    """Of several to choose from."""
    licences = [each for each in (licence(one) for one in stated) if each != NOT_STATED]
    if len(licences) < 2 or any(expression is None for expression, _ in licences):
        return all_of([expression or words for expression, words in licences])
    return " OR ".join(sorted({f"({each})" if " " in each else each for each, _ in licences if each})), None


def _plain(text: str) -> str:
    """Without what varies: `The Apache License, Version 2.0` and `Apache License 2.0` are one name."""
    words = re.sub(r"[,()\"]|\bversion\b|\bv(?=\.? ?\d\.\d)\.?", " ", text.lower().strip())
    return re.sub(r"^the (?!unlicense)", "", " ".join(words.split()))


def _expression(text: str) -> str | None:
    # The check compiles it as a program of parentheses: short ones only.
    if len(text) > _LONGEST or text.count("(") > 20:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None
