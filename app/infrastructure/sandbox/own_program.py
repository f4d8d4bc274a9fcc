"""Programs of ours that read what strangers wrote: the command that starts one in the sandbox."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import app

_PACKAGE = Path(str(app.__file__)).resolve().parent
_START = _PACKAGE / "infrastructure" / "sandbox" / "start.py"

READABLE = tuple(dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), _PACKAGE)))
"""What each needs to be able to read: Python, our dependencies, and our own code."""


def own_program(module: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """`module.main(arguments)`, by an interpreter that takes nothing from the folder that it is started in."""
    return (sys.executable, "-I", "-B", "-X", "utf8", os.fspath(_START), module, *arguments)
