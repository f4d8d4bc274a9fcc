"""Writing to a descriptor without a buffer in between."""

from __future__ import annotations

import os


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it: one `write` may take less. Raises OSError of the disk."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
