"""What this machine can do, found by trying in a process of its own, once for each process of ours."""

from __future__ import annotations

import json
import os
from functools import cache

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.launch import start_supervisor
from app.infrastructure.sandbox.spec import SandboxBroken

_WITHIN = 60.0


@cache
def available() -> Capabilities:
    """Takes about 0.2 s the first time. Raises SandboxBroken when even trying is not possible."""
    reader, writer = os.pipe()
    try:
        process = start_supervisor(None, writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        process.communicate(b"null\n", timeout=_WITHIN)
        line = answers.readline()
    answer = json.loads(line) if line else {"failure": f"ended with {process.returncode}"}
    if "failure" in answer:
        raise SandboxBroken(f"what this machine can do could not be tried: {answer['failure']}")
    return Capabilities.from_json(answer)
