"""The watchdog on real folders and real processes of this machine, without a cage around them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.infrastructure.sandbox.cage import processes
from app.infrastructure.sandbox.cage import watch as watching
from app.infrastructure.sandbox.cage.cgroup import Group
from app.infrastructure.sandbox.cage.disk import Usage
from app.infrastructure.sandbox.cage.processes import Held
from app.infrastructure.sandbox.cage.watch import Watch
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.plan import Plan
from app.infrastructure.sandbox.planner import make_plan
from app.infrastructure.sandbox.spec import MIB, Limit, SandboxSpec


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Limits that a test reaches by lowering one of them."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "there before").write_bytes(b"x" * 300_000)
    plan = make_plan(Capabilities(seccomp=True), SandboxSpec(("make",), folder))
    return replace(plan, disk_bytes=200_000, files=20, memory_bytes=1024 * MIB, cpu_seconds=1e6, processes=5)


@pytest.fixture
def folder(plan: Plan) -> Iterator[int]:
    handle = os.open(plan.workspace, os.O_RDONLY)
    yield handle
    os.close(handle)


@pytest.fixture(autouse=True)
def _count_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_COUNT_EVERY", 0.0)
    monkeypatch.setattr(watching, "_SHARE", 0.0)


def _watch(plan: Plan, folder: int, group: Group | None = None) -> Watch:
    return Watch(plan, [folder], group, None, unlock=True)


def test_what_was_there_before_counts_nothing(plan: Plan, folder: int) -> None:
    watch = _watch(plan, folder)
    assert watch.look([], 0.0) is None
    assert watch.final() is None
    assert watch.peak_memory is None
    assert watch.next_look > time.monotonic() - 1


def test_bytes_that_were_added(plan: Plan, folder: int) -> None:
    watch = _watch(plan, folder)
    (Path(plan.workspace) / "added").write_bytes(b"x" * 250_000)
    assert watch.look([], 0.0) is Limit.DISK
    assert watch.final() is Limit.DISK


def test_holes_count_once_it_has_ended(plan: Plan, folder: int) -> None:
    """While it runs, a large sparse file hurts nobody; what is kept is copied, and a copy has no holes."""
    watch = _watch(plan, folder)
    hollow = Path(plan.workspace) / "hollow"
    with hollow.open("wb") as file:
        file.truncate(150_000)
    os.link(hollow, hollow.with_name("the same"))
    assert watch.final() is None, "of a file with two names there is one copy"
    with hollow.open("ab") as file:
        file.truncate(250_000)
    assert watch.look([], 0.0) is None
    assert watch.final() is Limit.DISK


def test_holes_that_were_there_before_or_are_not_kept_count_nothing(plan: Plan, tmp_path: Path) -> None:
    with (Path(plan.workspace) / "there before, too").open("wb") as file:
        file.truncate(10**9)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folders = [os.open(path, os.O_RDONLY) for path in (plan.workspace, scratch)]
    watch = Watch(plan, folders, None, None, unlock=True)
    with (scratch / "hollow").open("wb") as file:
        file.truncate(10**9)
    assert watch.final() is None
    for each in folders:
        os.close(each)


def test_files_that_were_added(plan: Plan, folder: int) -> None:
    watch = _watch(plan, folder)
    for number in range(21):
        (Path(plan.workspace) / f"{number}").touch()
    assert watch.look([], 0.0) is Limit.FILES


def test_folders_that_are_nested_too_deep(plan: Plan, folder: int) -> None:
    watch = _watch(replace(plan, files=1000), folder)
    below = Path(plan.workspace)
    for _ in range(300):
        below = below / "d"
        below.mkdir()
    assert watch.look([], 0.0) is Limit.DEPTH
    assert watch.final() is Limit.DEPTH


def test_a_deleted_file_that_is_open(plan: Plan, folder: int) -> None:
    watch = _watch(plan, folder)
    path = Path(plan.workspace) / "gone"
    with path.open("wb") as file:
        file.write(b"x" * 250_000)
        file.flush()
        path.unlink()
        assert watch.look([os.getpid()], 0.0) is Limit.DISK
        assert watch.final() is None


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process is one that nobody may look into."""
    monkeypatch.setattr(processes, "held_open", lambda *_: Held(0, 0, unseen=True))


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets by how many bytes the file system has grown."""
    size = 0

    def grow(by: int) -> None:
        nonlocal size
        size += by

    monkeypatch.setattr(Watch, "_statistics", lambda _: Usage(size, 0))
    return grow


@pytest.mark.usefixtures("closed")
def test_what_a_process_that_is_closed_to_us_may_hold(plan: Plan, folder: int, grown: Callable[[int], None]) -> None:
    watch = _watch(plan, folder)
    grown(199_000)
    assert watch.look([os.getpid()], 0.0) is None
    grown(2_000)
    assert watch.look([os.getpid()], 0.0) is Limit.DISK


@pytest.mark.usefixtures("closed")
def test_what_others_write_before_the_command_has_started(
    plan: Plan, folder: int, grown: Callable[[int], None]
) -> None:
    """Its process is ours until then, and closed."""
    watch = _watch(plan, folder)
    grown(900_000)
    assert watch.look([os.getpid()], 0.0, started=False) is None
    assert watch.look([os.getpid()], 0.0) is None
    grown(201_000)
    assert watch.look([os.getpid()], 0.0) is Limit.DISK


def test_what_others_write_while_all_is_seen(
    plan: Plan, folder: int, grown: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = _watch(plan, folder)
    grown(900_000)
    assert watch.look([os.getpid()], 0.0) is None
    monkeypatch.setattr(processes, "held_open", lambda *_: Held(0, 0, unseen=True))
    assert watch.look([os.getpid()], 0.0) is None


def test_memory_files(plan: Plan, folder: int) -> None:
    watch = _watch(replace(plan, memory_bytes=400 * MIB), folder)
    memory = os.memfd_create("unseen")
    os.posix_fallocate(memory, 0, 401 * MIB)
    try:
        assert watch.look([os.getpid()], 0.0) is Limit.MEMORY
    finally:
        os.close(memory)


def test_resident_memory(plan: Plan, folder: int) -> None:
    watch = _watch(replace(plan, memory_bytes=MIB), folder)
    assert watch.look([os.getpid()], 0.0) is Limit.MEMORY
    assert (watch.peak_memory or 0) > MIB


def test_processes(plan: Plan, folder: int) -> None:
    watch = _watch(replace(plan, processes=1), folder)
    assert watch.look([os.getpid(), os.getppid()], 0.0) is Limit.PROCESSES


def test_cpu_time_of_those_that_are_and_were_waited_for(plan: Plan, folder: int) -> None:
    watch = _watch(plan, folder)
    assert watch.look([], 1.1e6) is Limit.CPU
    assert watch.cpu_seconds == 1.1e6


def test_cpu_time_of_those_that_vanished(plan: Plan, folder: int) -> None:
    """Nobody waited for them, so it is in nobody's account."""
    program = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\ninput()"
    watch = _watch(plan, folder)
    for _ in range(2):
        burner = subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 30
        before = watch.cpu_seconds
        while watch.cpu_seconds < before + 0.28:
            watch.look([burner.pid], 0.0)
            assert time.monotonic() < deadline
            time.sleep(0.02)
        burner.communicate(b"\n")
    assert watch.cpu_seconds >= 0.56


def test_the_account_of_a_group_counts_for_more(plan: Plan, folder: int, tmp_path: Path) -> None:
    group = Group(str(tmp_path))
    (group.folder / "cpu.stat").write_text("usage_usec 1100000000000\n")
    assert _watch(plan, folder, group).look([], 0.0) is Limit.CPU


def test_it_counts_early_when_the_file_system_fills(plan: Plan, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_COUNT_EVERY", 3600.0)
    watch = _watch(plan, folder)
    (Path(plan.workspace) / "added").write_bytes(b"x" * 5 * MIB)
    os.sync()
    assert watch.look([], 0.0) is Limit.DISK
