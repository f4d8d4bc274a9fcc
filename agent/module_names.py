"""What a module may be called."""

from __future__ import annotations

import re

MODULE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]")
"""The whole of a name: 3 to 64 of a-z, 0-9 and '-', neither first nor last a '-' (API.md, rules for input)."""


def is_module_name(text: str) -> bool:
    return MODULE_NAME.fullmatch(text) is not None
