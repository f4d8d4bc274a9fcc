"""Runs sandboxes for tests as another user, or where the machine can be made to look poorer.

    python -m tests.integration.sandbox.driver USER_ID PATH ...

Reads one JSON object a line, answers with one. As root it first makes each PATH reachable for all, in a mount namespace
of its own, since an interpreter below /root is closed to others; then it becomes USER_ID for good (0: stays root).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from app.infrastructure.sandbox.cage import syscalls, users
from app.infrastructure.sandbox.cage.syscalls import MS_BIND, MS_PRIVATE, MS_REC, mount
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.probe import available
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.runner import run
from app.infrastructure.sandbox.spec import Claim, Limits, Network, SandboxBroken, SandboxRefused, SandboxSpec


def main() -> None:
    user, paths = int(sys.argv[1]), sys.argv[2:]
    if os.geteuid() == 0:
        # Root itself gets everywhere; what it runs as another user then needs an interpreter of the system.
        with suppress(OSError) if not user else nullcontext():
            make_reachable([Path(path) for path in paths])
        if user:
            users.become(user)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "available":
        return available().as_json()
    if request["do"] == "make":
        Path(request["path"]).mkdir(mode=0o755)
        return {}
    if request["do"] == "remove":
        remove_tree(Path(request["path"]))
        return {"left": os.path.lexists(request["path"])}
    return run_request(request)


def run_request(request: dict[str, Any]) -> dict[str, Any]:
    """One run; `refused` or `broken` in the answer when it did not take place."""
    spec = SandboxSpec(
        command=tuple(request["command"]),
        workspace=Path(request["workspace"]),
        readable=tuple(Path(path) for path in request["readable"]),
        environment=request["environment"],
        limits=Limits(**request["limits"]),
        network=Network(request["network"]),
        require=frozenset(Claim[name] for name in request["require"]),
    )
    cancelled = threading.Event()
    timer = threading.Timer(request["cancel_after"] or 0, cancelled.set)
    if request["cancel_after"] is not None:
        timer.start()
    try:
        outcome = run(
            spec, Path(request["log"]), cancelled, capabilities=Capabilities.from_json(request["capabilities"])
        )
    except SandboxRefused as refusal:
        return {"refused": str(refusal)}
    except SandboxBroken as failure:
        return {"broken": str(failure)}
    finally:
        timer.cancel()
    return {
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "limit": outcome.limit.name if outcome.limit else None,
        "seconds": outcome.seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "peak": outcome.peak_memory_bytes,
        "output_bytes": outcome.output_bytes,
        "left_out_bytes": outcome.left_out_bytes,
        "isolation": outcome.isolation.as_json(),
        "text": Path(request["log"]).read_bytes().decode("utf-8", "replace"),
    }


def make_reachable(paths: list[Path]) -> None:
    """Where a folder on the way is closed to others, one that holds nothing but what is asked for is put over it, for
    this process and what it starts. Raises OSError where root may not do that."""
    closed: dict[Path, list[Path]] = {folder: [] for path in paths if (folder := _first_closed(path)) is not None}
    if not closed:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    for path in paths:
        folder = _first_closed(path)
        if folder is not None:
            closed[folder].append(path)
    for folder, inside in closed.items():
        cover = Path(tempfile.mkdtemp())
        cover.chmod(0o755)
        mount("cover", os.fspath(cover), "tmpfs", 0, "size=1m,mode=0755")
        for path in inside:
            place = cover / path.relative_to(folder)
            place.mkdir(parents=True, exist_ok=True)
            mount(os.fspath(path), os.fspath(place), None, MS_BIND | MS_REC)
        mount(os.fspath(cover), os.fspath(folder), None, MS_BIND | MS_REC)
        syscalls.unmount(os.fspath(cover))
        cover.rmdir()


def _first_closed(path: Path) -> Path | None:
    return next((above for above in reversed([path, *path.parents]) if not above.stat().st_mode & 0o001), None)


if __name__ == "__main__":
    main()
