"""The scanners' version: it changes by itself whenever the same bytes could give another report.

That is: with the scanners' own code, with the libraries that hold the rules, and with Python, whose parser says what is
Python. A change that changes nothing has reports made anew once.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("bandit", "detect-secrets", "packaging")


def scanner_version() -> str:
    """Twelve hexadecimal digits."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
