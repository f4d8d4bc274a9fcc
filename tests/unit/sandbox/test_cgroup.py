"""Control groups, on a folder that looks like one: what is written where. The kernel's part needs a kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from app.infrastructure.sandbox.cage import cgroup
from app.infrastructure.sandbox.cage.cgroup import Group


def test_limits_are_written_and_memory_is_taken_together(tmp_path: Path) -> None:
    group = Group(str(tmp_path))
    for name in ("pids.max", "memory.max", "memory.swap.max", "memory.oom.group"):
        (group.folder / name).touch()
    group.limit(("pids", "memory"), 34, 1024)
    written = {path.name: path.read_text() for path in group.folder.iterdir()}
    assert written == {"pids.max": "34", "memory.max": "1024", "memory.swap.max": "0", "memory.oom.group": "1"}


def test_only_what_the_group_has_is_limited(tmp_path: Path) -> None:
    group = Group(str(tmp_path))
    group.limit((), 34, 1024)
    assert list(group.folder.iterdir()) == []
    group.close()
    assert list(tmp_path.iterdir()) == []


def test_running_out_of_memory_is_read_from_its_events(tmp_path: Path) -> None:
    group = Group(str(tmp_path))
    assert not group.ran_out_of_memory()
    events = group.folder / "memory.events"
    events.write_text("low 0\nmax 12\noom 0\noom_kill 0\n")
    assert not group.ran_out_of_memory()
    events.write_text("low 0\nmax 12\noom 3\noom_kill 1\n")
    assert group.ran_out_of_memory()


def test_cpu_time_is_read_in_seconds(tmp_path: Path) -> None:
    group = Group(str(tmp_path))
    assert group.cpu_seconds() == 0
    (group.folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\n")
    assert group.cpu_seconds() == 2.5


def test_what_dead_guardians_left_is_removed_and_no_other(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = tmp_path / f"hotswap-{ended.pid}-1"
    kept = [tmp_path / f"hotswap-{os.getpid()}-1", tmp_path / "hotswap-agent-1", tmp_path / "other"]
    for folder in (stale, *kept):
        folder.mkdir()
    cgroup._remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_two_groups_never_meet(tmp_path: Path) -> None:
    assert Group(str(tmp_path)).folder != Group(str(tmp_path)).folder
