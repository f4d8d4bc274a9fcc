"""How an agent's memory is taken from the system: one heap, from which large buffers come as well.

asyncio's TLS asks for 256 KiB for each record of 16 KiB that it reads and gives the rest back. glibc would map, shrink
and unmap pages of their own for every one of them, because a block that was shrunk never teaches it that such blocks
come often: 300 page faults for each megabyte of a download.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1  # mallopt(3)
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGEST_FROM_HEAP = 512 * 1024
_MOST_KEPT = 1024 * 1024  # bytes that may stay at the heap's end; pages that were never written cost nothing


def use_one_heap() -> None:
    """Let this process, and what it forks, have one heap. With glibc's own for each thread, every agent would hold
    several half empty ones. Other libcs do as they like."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
