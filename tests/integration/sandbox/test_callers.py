"""Who calls: from a daemonic child as Celery forks them, from threads, several at once, and callers that give up."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import billiard  # type: ignore[import-untyped]
import pytest

from app.infrastructure.sandbox.probe import available
from app.infrastructure.sandbox.runner import run
from app.infrastructure.sandbox.spec import Limits, SandboxBroken, SandboxSpec
from tests.integration.sandbox.processes_seen import with_token

SMALL = Limits(wall_seconds=20, processes=16)


@pytest.fixture
def workspace(base: Path) -> Path:
    folder = base / secrets.token_hex(4)
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def _in_daemon(workspace: Path, log: Path, answers: Any) -> None:
    outcome = run(SandboxSpec(("echo", "from a daemon"), workspace, limits=SMALL), log)
    answers.send(outcome.exit_code)


def test_a_daemonic_child_can_run_it(workspace: Path, tmp_path: Path) -> None:
    """Such a child may have no children of `multiprocessing`; what it starts here is none."""
    here, there = billiard.Pipe()
    child = billiard.get_context("fork").Process(target=_in_daemon, args=(workspace, tmp_path / "log", there))
    child.daemon = True
    child.start()
    assert here.poll(60)
    assert here.recv() == 0
    child.join()
    assert (tmp_path / "log").read_text() == "from a daemon\n"


def test_several_at_once_do_not_meet(base: Path, tmp_path: Path) -> None:
    """As root each has a user of its own, so that none can signal another, or use up another's processes."""

    def one(number: int) -> str:
        folder = base / secrets.token_hex(4)
        folder.mkdir()
        folder.chmod(0o755)
        log = tmp_path / f"{number}"
        assert run(SandboxSpec(("sh", "-c", "id -u; sleep 0.5"), folder, limits=SMALL), log).succeeded
        return log.read_text()

    with ThreadPoolExecutor(4) as pool:
        users = list(pool.map(one, range(4)))
    assert len(set(users)) == (4 if available().root else 1)


def test_a_full_disk_of_the_log_ends_the_run(workspace: Path) -> None:
    token = secrets.token_hex(6)
    spec = SandboxSpec(("sh", "-c", f"while :; do echo {token}; done"), workspace, limits=SMALL)
    with pytest.raises(OSError, match="No space left"):
        run(spec, Path("/dev/full"))
    assert not with_token(token)


class _Impatient(threading.Event):
    """Whatever interrupts a worker in the middle: a soft time limit of Celery, Ctrl-C."""

    def is_set(self) -> bool:
        raise KeyboardInterrupt


def test_an_exception_in_the_caller_ends_the_run(workspace: Path, tmp_path: Path) -> None:
    token = secrets.token_hex(6)
    spec = SandboxSpec(("sh", "-c", f": {token}; sleep 60"), workspace, limits=SMALL)
    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path / "log", _Impatient())
    assert not with_token(token)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_and_no_folder_is_left(workspace: Path, tmp_path: Path) -> None:
    spec = SandboxSpec(("true",), workspace, limits=SMALL)
    run(spec, tmp_path / "log")
    before = _descriptors()
    for _ in range(3):
        run(spec, tmp_path / "log")
    missing = SandboxSpec(("true",), workspace / "nothing", limits=SMALL)
    with contextlib.suppress(SandboxBroken, OSError):
        run(missing, tmp_path / "log")
    assert _descriptors() == before


def test_a_workspace_that_is_not_there_or_a_link_is_refused(workspace: Path, tmp_path: Path) -> None:
    (workspace / "link").symlink_to("/usr")
    for name in ("nothing", "link"):
        with pytest.raises(SandboxBroken, match=name):
            run(SandboxSpec(("touch", "written"), workspace / name, limits=SMALL), tmp_path / "log")


def test_the_log_is_followed_while_it_runs(workspace: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cancelled = threading.Event()
    spec = SandboxSpec(("sh", "-c", "echo first; while :; do sleep 1; done"), workspace, limits=SMALL)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, spec, log, cancelled)
        while not (log.exists() and log.read_text() == "first\n"):
            assert not running.done()
        cancelled.set()
        assert running.result().limit is not None


def test_bytes_that_are_not_utf_8_go_through(workspace: Path, tmp_path: Path) -> None:
    """As arguments, in the environment, as names of files and in the output."""
    raw = os.fsdecode(b"\xff\xfe")
    command = ("sh", "-c", 'printf %s "$1$VALUE"; : > "$1"', "sh", raw)
    outcome = run(SandboxSpec(command, workspace, environment={"VALUE": raw}, limits=SMALL), tmp_path / "log")
    assert outcome.succeeded
    assert (tmp_path / "log").read_bytes() == b"\xff\xfe\xff\xfe"
    assert [os.fsencode(path.name) for path in workspace.iterdir()] == [b"\xff\xfe"]
