"""Starting the supervising process: by exec, with a clean environment and only the descriptors that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_START = "import sys; sys.path.insert(0, sys.argv.pop()); from app.infrastructure.sandbox.cage.main import main; main()"
# Nothing of our own environment: what has none can leak none, also not through /proc.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def start_supervisor(output: int | None, result: int, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """The guardian, which waits for one line on its standard input. `result` is what it answers on. Raises OSError.

    A session of its own: neither the terminal's signals nor those to our process group reach it.
    """
    arguments = [str(-1 if output is None else output), str(os.getpid()), os.fspath(_ROOT)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, *arguments],
        stdin=subprocess.PIPE,
        stdout=result,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
        pass_fds=[*keep, *([] if output is None else [output])],
        start_new_session=True,
    )
