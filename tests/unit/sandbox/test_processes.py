"""Seeing a tree of processes, on kernels with and without lists of children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infrastructure.sandbox.cage import processes, syscalls

ROOT = Path(__file__).resolve().parents[3]
TREE = "import os, time\nif os.fork():\n    time.sleep(600)\nos.fork()\ntime.sleep(600)"


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    """One process with a child and a grandchild."""
    parent = subprocess.Popen([sys.executable, "-S", "-c", TREE])
    deadline = time.monotonic() + 30
    while len(processes.descendants(parent.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield parent
    processes.signal_all([*processes.descendants(parent.pid), parent.pid], 9)
    parent.wait()


def test_descendants_come_parents_first(tree: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    fast = processes.descendants(tree.pid)
    monkeypatch.setattr(processes, "_has_children_files", lambda: False)
    assert processes.descendants(tree.pid) == fast
    assert len(fast) == 2
    assert tree.pid in processes.descendants(os.getpid())


def test_load_is_of_those_that_are(tree: subprocess.Popen[bytes]) -> None:
    pids = processes.descendants(tree.pid)
    load = processes.load([*pids, 2**22 + 1])
    assert load.processes == 2
    assert load.resident_bytes > 0
    # What the two share with their parent counts for each only in the first sum.
    assert 0 < processes.proportional_bytes(pids) < load.resident_bytes
    assert processes.waited_for_by(2**22 + 1) == 0


def test_what_no_folder_shows_is_found() -> None:
    memory = os.memfd_create("unseen")
    os.write(memory, b"x" * 100_000)
    held = processes.held_open([os.getpid(), 2**22 + 1], device=-1)
    os.close(memory)
    assert held.in_memory >= 100_000
    assert not held.unseen


def test_what_has_ended_hides_nothing() -> None:
    """It belongs to root until somebody waits for it."""
    ended = os.posix_spawnp("true", ["true"], {"PATH": os.defpath})
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    try:
        with syscalls.looking_as(None if os.geteuid() else 65534):
            assert not processes.held_open([ended], device=-1).unseen
    finally:
        os.waitpid(ended, 0)


# Its first thread ends, by the system call, and another one goes on: with what it uses and holds.
HEADLESS = """
import ctypes, os, platform, sys, threading, time
def hold():
    held = open(sys.argv[1], "wb")
    os.unlink(sys.argv[1])
    held.write(b"x" * 300000)
    held.flush()
    memory = b"x" * (64 * 1048576)
    print("ready", flush=True)
    time.sleep(600)
threading.Thread(target=hold).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


def test_a_process_without_its_first_thread_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "held"
    headless = subprocess.Popen([sys.executable, "-S", "-c", HEADLESS, os.fspath(path)], stdout=subprocess.PIPE)
    try:
        assert headless.stdout is not None
        assert headless.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 30
        while "State:\tZ" not in Path(f"/proc/{headless.pid}/status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held = processes.held_open([headless.pid], tmp_path.stat().st_dev)
        assert held.on_device >= 300_000
        assert not held.unseen
        assert processes.load([headless.pid]).resident_bytes > 64 * 1048576
        assert processes.proportional_bytes([headless.pid]) > 64 * 1048576
    finally:
        headless.kill()
        headless.communicate()


def test_all_children_but_one_are_waited_for() -> None:
    """In a process of its own, since it waits for whatever child there is."""
    program = (
        "import os, time\n"
        "from app.infrastructure.sandbox.cage import processes\n"
        "children = [os.spawnlp(os.P_NOWAIT, name, name, '600') for name in ('true', 'true', 'sleep')]\n"
        "while any(os.path.exists(f'/proc/{child}') for child in children[:2]):\n"
        "    processes.reap_all_but(children[2])\n"
        "    time.sleep(0.01)\n"
        "assert os.waitpid(children[2], os.WNOHANG) == (0, 0)\n"
        "os.kill(children[2], 9)\n"
        "while os.waitid(os.P_PID, children[2], os.WEXITED | os.WNOWAIT) is None: pass\n"
        "processes.reap_all_but(children[2])\n"
        "assert os.waitpid(children[2], 0) == (children[2], 9)\n"
        "processes.reap_all_but(0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


def test_nobody_is_killed_as_root() -> None:
    """kill(-1) as root would reach the whole machine."""
    for user, partner in ((0, 60579), (60578, 0), (-1, 60579)):
        with pytest.raises(ValueError, match="root"):
            processes.kill_everything_of(user, partner)
