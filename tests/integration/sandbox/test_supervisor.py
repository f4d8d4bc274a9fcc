"""The supervising process's own protocol: one line of JSON in, one out, and a pipe whose end or byte cancels.

It runs as a plain fork of the test here, without the walls of namespaces, so that what measures tests can see it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.sandbox.cage import cgroup, main
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.plan import Plan
from app.infrastructure.sandbox.planner import make_plan
from app.infrastructure.sandbox.probe import available
from app.infrastructure.sandbox.spec import MIB, Limits, SandboxSpec
from tests.integration.sandbox.processes_seen import wait_for, with_token


@pytest.fixture
def plan(base: Path) -> Plan:
    name = secrets.token_hex(4)
    workspace, scratch = base / name, base / f".{name}.scratch"
    for folder in (workspace, scratch):
        folder.mkdir(mode=0o755)
    can = Capabilities(root=available().root, seccomp=True, landlock=available().landlock, cgroup=available().cgroup)
    limits = Limits(wall_seconds=20, grace_seconds=0.1, disk_bytes=8 * MIB, cpu_seconds=10)
    return make_plan(can, SandboxSpec(("true",), workspace, limits=limits), os.fspath(scratch))


class Supervisor:
    """A forked copy of this process, in which `main` runs."""

    def __init__(self, line: bytes) -> None:
        control, self.control = os.pipe()
        self.result, result = os.pipe()
        self.output, output = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.dup2(control, 0)
                os.dup2(result, 1)
                for mine in (self.control, self.result, self.output, control, result):
                    os.close(mine)
                sys.argv = ["supervisor", str(output), str(os.getppid())]
                main.main()
            finally:
                os._exit(0)
        for its in (control, result, output):
            os.close(its)
        os.write(self.control, line)

    def answer(self) -> tuple[dict[str, Any], bytes]:
        """What it told, and what the command printed."""
        printed: list[bytes] = []
        reading = threading.Thread(target=lambda: printed.append(_read(self.output)))
        reading.start()
        told = _read(self.result)
        reading.join()
        os.waitpid(self.pid, 0)
        for mine in (self.result, self.output):
            os.close(mine)
        return json.loads(told.partition(b"\n")[0] or b"{}"), printed[0]


def _read(source: int) -> bytes:
    text = b""
    while piece := os.read(source, 65536):
        text += piece
    return text


def _run(plan: Plan, during: Callable[[Supervisor], None] | None = None) -> tuple[dict[str, Any], bytes]:
    supervisor = Supervisor(plan.dumps())
    try:
        if during is not None:
            during(supervisor)
        return supervisor.answer()
    finally:
        os.close(supervisor.control)


def test_it_tells_how_a_command_ended(plan: Plan) -> None:
    told, printed = _run(replace(plan, command=("sh", "-c", "echo here; exit 3")))
    assert (os.waitstatus_to_exitcode(told["status"]), told["limit"], printed) == (3, None, b"here\n")
    assert not Path(plan.scratch).exists()


def test_a_byte_cancels(plan: Plan) -> None:
    token = secrets.token_hex(6)

    def cancel(supervisor: Supervisor) -> None:
        wait_for(token, present=True)
        os.write(supervisor.control, b"c")

    told, _ = _run(replace(plan, command=("sh", "-c", f": {token}; while :; do sleep 1; done")), cancel)
    assert told["limit"] == "CANCELLED"
    assert not with_token(token)


def test_the_wall_time_gives_a_chance_to_end_well(plan: Plan) -> None:
    program = "trap 'echo well; exit 0' TERM; while :; do sleep 0.05; done"
    told, printed = _run(replace(plan, command=("sh", "-c", program), wall_seconds=0.5, grace_seconds=20))
    assert (told["limit"], os.waitstatus_to_exitcode(told["status"])) == ("WALL", 0)
    # Before it, the shell may say that its sleep was terminated.
    assert printed.endswith(b"well\n")


def test_what_cannot_be_started_is_told(plan: Plan) -> None:
    told, printed = _run(replace(plan, command=("/usr",)))
    assert os.waitstatus_to_exitcode(told["status"]) == 126
    assert b"cannot start '/usr'" in printed


def test_a_folder_to_start_in_that_is_not_there_is_told(plan: Plan) -> None:
    told, _ = _run(replace(plan, folder="no such folder"))
    assert "no such folder" in told["failure"]


def test_the_disk_limit(plan: Plan) -> None:
    program = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > file$i; done"
    told, _ = _run(replace(plan, command=("sh", "-c", program)))
    assert told["limit"] == "DISK"


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b"{}\n"])
def test_a_line_that_is_no_plan_starts_nothing(line: bytes) -> None:
    supervisor = Supervisor(line)
    os.close(supervisor.control)
    told, printed = supervisor.answer()
    assert (set(told), printed) == (set() if not line else {"failure"}, b"")


def test_what_ends_a_terminal_does_not_end_it(plan: Plan) -> None:
    """Ctrl-C and a closed terminal reach whole process groups: the caller decides what they mean."""
    token = secrets.token_hex(6)

    def interrupt(supervisor: Supervisor) -> None:
        wait_for(token, present=True)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.killpg(supervisor.pid, number)
        Path(plan.workspace, "go").touch()

    program = f": {token}; until [ -e go ]; do sleep 0.02; done; echo to the end"
    told, printed = _run(replace(plan, command=("sh", "-c", program)), interrupt)
    assert (told["status"], printed) == (0, b"to the end\n")


def test_control_groups_are_usable_as_the_probe_said() -> None:
    assert cgroup.usable() == (available().cgroup, available().cgroup_controllers)
