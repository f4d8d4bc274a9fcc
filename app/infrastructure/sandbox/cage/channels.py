"""How our processes tell each other: lines of JSON on pipes, and a pipe that SIGCHLD writes to."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Channels:
    """The descriptors that lead to the caller, and its process id."""

    control: int
    result: int
    output: int
    caller: int

    def tell(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            os.write(self.result, json.dumps(message).encode() + b"\n")


def in_child(work: Callable[[], None], tell: int) -> None:
    """Does the work and never returns; what goes wrong is told as one line of JSON."""
    code = 0
    try:
        work()
    except BaseException as error:
        with suppress(OSError):
            os.write(tell, json.dumps({"failure": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        code = 125
    os._exit(code)


def read_answer(source: int) -> dict[str, Any]:
    """The first line that was told, once nobody can tell more; {} when none was. Closes the descriptor."""
    text = b""
    while piece := os.read(source, 65536):
        text += piece
    os.close(source)
    first = text.partition(b"\n")[0]
    return dict(json.loads(first)) if first else {}


def told_of_children() -> int:
    """A descriptor that becomes readable when a child ends. Children of ours that end from here on count."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def drain(source: int) -> None:
    """Reads what is there of a descriptor that does not block."""
    with suppress(BlockingIOError):
        while os.read(source, 4096):
            pass
