"""What the command gets: environment and paths, and how our processes tell each other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from app.infrastructure.sandbox.cage import channels, command, landlock, layout, users
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.plan import Identity
from app.infrastructure.sandbox.planner import make_plan
from app.infrastructure.sandbox.spec import SandboxSpec

SPEC = SandboxSpec(("make",), Path("/var/tmp/work"), readable=(Path("/opt/java"),), environment={"CI": "1"})
WALLED = make_plan(Capabilities(True, True, True, True, True, True, True, 7), SPEC)
BARE = make_plan(Capabilities(seccomp=True, landlock=7), SPEC, "/var/tmp/scratch")


def test_the_environment_is_small_and_home_is_inside() -> None:
    walled = command.environment_of(WALLED)
    assert walled == {
        "PATH": layout.PATH,
        "HOME": "/home/sandbox",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "USER": "sandbox",
        "LOGNAME": "sandbox",
        "CI": "1",
    }
    bare = command.environment_of(BARE)
    assert (bare["HOME"], bare["TMPDIR"]) == ("/var/tmp/scratch/home", "/var/tmp/scratch/tmp")


def test_what_is_given_goes_before_what_is_ours() -> None:
    plan = replace(WALLED, environment={"PATH": "/opt/bin", "HOME": "/workspace"})
    assert command.environment_of(plan)["PATH"] == "/opt/bin"


def test_the_workspace_has_one_name_inside() -> None:
    assert command.folder_of(WALLED) == "/workspace"
    assert command.folder_of(BARE) == "/var/tmp/work"


def test_landlock_grants_no_more_than_the_walls_show() -> None:
    granted = dict(command.granted(BARE))
    writable = {path for path, rights in granted.items() if rights & landlock.WRITE & ~landlock.DEVICE & ~landlock.READ}
    assert writable == {"/var/tmp/work", "/var/tmp/scratch"}
    assert granted["/opt/java"] == granted["/usr"] == landlock.READ
    assert not {"/", "/etc", "/home", "/root", "/var", "/tmp", "/dev", "/run", "/sys"} & set(granted)
    dedicated = replace(BARE, identity=Identity.DEDICATED)
    assert dict(command.granted(dedicated))["/dev/shm"] == landlock.WRITE


def test_rights_follow_the_version_of_landlock() -> None:
    assert landlock.handled(1) == (1 << 13) - 1
    assert landlock.handled(3) == (1 << 13) - 1 | 1 << 13 | 1 << 14
    assert landlock.handled(7) == landlock.WRITE


def test_users_come_in_pairs_that_never_meet() -> None:
    both = set()
    for user in range(users.FIRST, users.LAST, 2):
        both |= {user, users.partner_of(user)}
    assert len(both) == users.LAST - users.FIRST + 1
    assert max(both) == users.LAST


def test_a_user_is_held_until_it_is_let_go() -> None:
    taken = [users.take_user() for _ in range(3)]
    try:
        assert len({user for user, _ in taken}) == 3
        assert all(users.FIRST <= user < users.LAST for user, _ in taken)
    finally:
        for _, lock in taken:
            lock.close()


def test_the_first_line_is_the_answer() -> None:
    reader, writer = os.pipe()
    os.write(writer, b'{"failure": "no"}\n{"status": 0}\n')
    os.close(writer)
    assert channels.read_answer(reader) == {"failure": "no"}
    reader, writer = os.pipe()
    os.close(writer)
    assert channels.read_answer(reader) == {}


def test_a_caller_that_is_gone_does_not_matter() -> None:
    reader, writer = os.pipe()
    channels.Channels(-1, writer, -1, 0).tell({"status": 1})
    assert os.read(reader, 100) == b'{"status": 1}\n'
    os.close(reader)
    channels.Channels(-1, writer, -1, 0).tell({"status": 2})
    os.close(writer)


def test_a_child_that_fails_says_how() -> None:
    reader, writer = os.pipe()

    def fail() -> None:
        raise OSError("no such thing")

    child = os.fork()
    if child == 0:
        channels.in_child(fail, writer)
    os.close(writer)
    assert channels.read_answer(reader) == {"failure": "OSError: no such thing"}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 125


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    """It starts without site packages."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import app.infrastructure.sandbox.cage.main"
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-I", "-S", "-c", program, os.fspath(root)], check=True, timeout=60)
