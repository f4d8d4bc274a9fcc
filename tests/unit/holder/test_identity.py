"""A pid alone is nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace

from agent.holder import identity


def test_a_recycled_pid_gets_no_signal() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        who = identity.identity_of(child.pid)
        assert who is not None
        earlier = replace(who, start_time=who.start_time - 1)
        other_boot = replace(who, boot_id="00000000-0000-0000-0000-000000000000")
        for stranger in (earlier, other_boot):
            assert identity.open_pidfd(stranger) is None
            assert not identity.send(stranger, signal.SIGKILL)
        assert child.poll() is None
        assert identity.send(who, signal.SIGKILL)
        assert child.wait() == -9
        assert not identity.send(who, signal.SIGKILL)
        assert identity.identity_of(child.pid) is None
    finally:
        child.kill()
        child.wait()


def test_a_name_with_brackets_and_spaces() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        identity.name_this_process("a) R 1 (b")
        os.write(write, b".")
        signal.pause()
    try:
        os.read(read, 1)
        who = identity.identity_of(pid)
        assert who is not None
        assert who.pid == pid
        assert identity.session_of(pid) == os.getsid(0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


def test_the_environment_of_a_process() -> None:
    child = subprocess.Popen(["sleep", "60"], env={"A": "1", "AB": "x=y"})
    try:
        # Popen comes back in the middle of exec, when the old environment is gone and the new one not there yet.
        deadline = time.monotonic() + 30
        while identity.environment_entry(child.pid, "A") is None:
            assert time.monotonic() < deadline
        entries = [identity.environment_entry(child.pid, name) for name in ("A", "AB", "B")]
        assert entries == ["1", "x=y", None]
    finally:
        child.kill()
        child.wait()
    assert identity.environment_entry(child.pid, "A") is None
