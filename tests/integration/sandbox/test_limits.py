"""Every limit, in every isolation: what passes it is ended, said by name, and leaves nothing."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox import attacks
from tests.integration.sandbox.conftest import BOTH_ENDS, NAMES, NAMES_FOR_LIMITS
from tests.integration.sandbox.processes_seen import wait_for, with_token
from tests.integration.sandbox.sites import MIB, Site, Sites

Attack = Callable[[Site], None]


def _disk_used(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@contextmanager
def _others_filling(folder: Path) -> Iterator[None]:
    """More than a run may use, given back, and taken again."""
    done = threading.Event()

    def fill() -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            while not done.wait(0.02):
                os.posix_fallocate(file.fileno(), 0, 256 * MIB)
                done.wait(0.02)
                file.truncate(0)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _forks_for_ever(site: Site) -> None:
    token = secrets.token_hex(6)
    answer = site.python(attacks.FORK_BOMB, token, limits={"wall_seconds": 0.5})
    assert answer["limit"] in ("WALL", "PROCESSES"), answer
    assert not with_token(token)


def _fills_the_disk(site: Site) -> None:
    folder = site.workspace()
    answer = site.python(attacks.FILL_DISK, workspace=folder)
    assert answer["limit"] == "DISK", answer
    # What was written between two looks comes on top.
    assert _disk_used(folder) < 1024 * MIB
    assert site.remove(folder)


def _fills_the_disk_with_what_no_folder_shows(site: Site) -> None:
    answer = site.python(attacks.FILL_DELETED)
    assert answer["limit"] == "DISK", answer


def _fills_the_disk_unseen(site: Site) -> None:
    answer = site.python(attacks.FILL_DELETED_UNSEEN)
    assert answer["limit"] == "DISK", answer


def _fills_the_disk_behind_closed_folders(site: Site) -> None:
    folder = site.workspace()
    answer = site.python(attacks.FILL_CLOSED, workspace=folder)
    assert answer["limit"] == "DISK", answer
    assert site.remove(folder)


def _allocates_without_end(site: Site) -> None:
    answer = site.python(attacks.ALLOCATE)
    assert answer["limit"] == "MEMORY" or (answer["exit_code"] == 1 and "MemoryError" in answer["text"]), answer
    assert (answer["peak"] or 0) < 512 * MIB


def _allocates_in_many_processes(site: Site) -> None:
    answer = site.python(attacks.ALLOCATE_TOGETHER)
    assert answer["limit"] == "MEMORY", answer


def _allocates_in_files_in_memory(site: Site) -> None:
    answer = site.python(attacks.ALLOCATE_FILES)
    assert answer["limit"] == "MEMORY", answer


def _prints_much(site: Site) -> None:
    answer = site.python(attacks.PRINT, limits={"log_head_bytes": 100_000, "log_tail_bytes": 50_000})
    assert answer["exit_code"] == 0, answer
    assert answer["output_bytes"] >= 64 * MIB
    assert answer["left_out_bytes"] == answer["output_bytes"] - 150_000
    assert answer["text"].startswith("first")
    assert answer["text"].endswith("last")
    assert "\n... 67 MB left out ...\n" in answer["text"] or "\n... 66.9 MB left out ...\n" in answer["text"]


def _ignores_sigterm(site: Site) -> None:
    token = secrets.token_hex(6)
    answer = site.run("sh", "-c", attacks.STUBBORN, token, limits={"wall_seconds": 0.5})
    assert answer["limit"] == "WALL", answer
    assert answer["text"] == "ignoring\n"
    assert 0.5 <= answer["seconds"] < 15
    assert not with_token(token)


def _stops_itself(site: Site) -> None:
    token = secrets.token_hex(6)
    answer = site.python(attacks.STOPPED, token, limits={"wall_seconds": 0.4})
    assert answer["limit"] == "WALL", answer
    assert not with_token(token)


def _tries_to_outlive(site: Site) -> None:
    token = str(secrets.randbelow(10**12))
    answer = site.python(attacks.OUTLIVE, token)
    assert answer["text"] == "gone\n", answer
    assert answer["exit_code"] == 0, answer
    assert answer["seconds"] < 15
    assert not with_token(token)


def _makes_many_files(site: Site) -> None:
    folder = site.workspace()
    answer = site.python(attacks.MANY_FILES, workspace=folder)
    assert answer["limit"] == "FILES", answer
    assert site.remove(folder)


def _nests_folders_without_end(site: Site) -> None:
    folder = site.workspace()
    answer = site.python(attacks.DEEP, workspace=folder, limits={"files": 2000})
    assert answer["limit"] == "DEPTH", answer
    assert site.remove(folder)


def _leaves_a_hostile_tree(site: Site) -> None:
    folder = site.workspace()
    outside = folder.parent / "outside"
    answer = site.python(attacks.HOSTILE_TREE, workspace=folder)
    assert answer["limit"] == "DEPTH", answer
    outside.write_text("still here")
    assert site.remove(folder)
    assert outside.read_text() == "still here"


def _burns_cpu(site: Site) -> None:
    answer = site.python(attacks.BURN, limits={"cpu_seconds": 0.4})
    assert answer["limit"] == "CPU", answer
    assert answer["cpu_seconds"] < 5


def _burns_cpu_in_many_processes(site: Site) -> None:
    answer = site.python(attacks.BURN_TOGETHER, limits={"cpu_seconds": 0.4})
    assert answer["limit"] == "CPU", answer


def _burns_cpu_in_short_lives_that_nobody_waits_for(site: Site) -> None:
    answer = site.python(attacks.BURN_UNSEEN, limits={"cpu_seconds": 0.3})
    assert answer["limit"] == "CPU", answer


def _makes_orphans(site: Site) -> None:
    """More than may be at a time, one after the other: none is to count once it has ended."""
    answer = site.python(attacks.ORPHANS, limits={"processes": 12})
    assert (answer["exit_code"], answer["text"]) == (0, "32\n"), answer


def _leaves_holes(site: Site) -> None:
    """Nothing is on the disk; but what is kept of a run is copied, and would have 480 MiB."""
    answer = site.run("sh", "-c", "for n in $(seq 20); do truncate -s 24M hollow-$n || exit 3; done")
    assert (answer["exit_code"], answer["limit"]) == (0, "DISK"), answer
    answer = site.run("sh", "-c", "truncate -s 24M hollow; rm hollow; truncate -s 20M kept; ln kept again")
    assert (answer["exit_code"], answer["limit"]) == (0, None), answer


def _writes_one_big_file(site: Site) -> None:
    answer = site.python(attacks.ONE_BIG_FILE, limits={"file_bytes": 2 * MIB})
    assert answer["limit"] == "FILE_SIZE", answer


KEPT_IN_VARIOUS_WAYS: list[Attack] = [
    _forks_for_ever,
    _tries_to_outlive,
    _makes_orphans,
    _fills_the_disk,
    _fills_the_disk_with_what_no_folder_shows,
    _fills_the_disk_unseen,
    _fills_the_disk_behind_closed_folders,
    _allocates_in_many_processes,
    _burns_cpu_in_many_processes,
    _burns_cpu_in_short_lives_that_nobody_waits_for,
]
KEPT_ALIKE: list[Attack] = [
    _allocates_without_end,
    _allocates_in_files_in_memory,
    _prints_much,
    _ignores_sigterm,
    _stops_itself,
    _makes_many_files,
    _nests_folders_without_end,
    _leaves_a_hostile_tree,
    _burns_cpu,
    _writes_one_big_file,
    _leaves_holes,
]


def _name(attack: Attack) -> str:
    return attack.__name__.strip("_")


@pytest.mark.parametrize("name", NAMES_FOR_LIMITS)
@pytest.mark.parametrize("attack", KEPT_IN_VARIOUS_WAYS, ids=_name)
def test_attack_that_is_met_in_various_ways(sites: Sites, name: str, attack: Attack) -> None:
    attack(sites[name])


@pytest.mark.parametrize("name", BOTH_ENDS)
@pytest.mark.parametrize("attack", KEPT_ALIKE, ids=_name)
def test_attack_that_is_met_alike(sites: Sites, name: str, attack: Attack) -> None:
    attack(sites[name])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "user-bare"])
def test_nothing_is_left_where_all_may_write(sites: Sites, name: str) -> None:
    """But for the weakest: of the same user, and with nothing between, what is the run's cannot be told."""
    token = secrets.token_hex(6)
    answer = sites[name].python(attacks.LITTER, token)
    assert answer["exit_code"] == 0, answer
    assert not [place for place in ("/tmp", "/var/tmp", "/dev/shm") if Path(place, token).exists()]


@pytest.mark.parametrize("name", ["root", "root-bare", "root-plain", "user"])
def test_who_ends_it_cannot_be_ended_by_it(sites: Sites, name: str) -> None:
    """Not where the same user is behind no wall: this would end the test as well."""
    token = secrets.token_hex(6)
    answer = sites[name].python(attacks.HUNT, token, limits={"wall_seconds": 0.4})
    assert answer["seconds"] < 15
    assert not with_token(token)


@pytest.mark.parametrize("name", ["root", "root-bare", "root-plain", "user"])
def test_shared_memory_is_bounded(sites: Sites, name: str) -> None:
    token = secrets.token_hex(6)
    answer = sites[name].python(attacks.FILL_SHARED, token)
    if name in ("root", "user"):
        assert "No space left on device" in answer["text"], answer
    else:
        assert answer["limit"] == "DISK", answer
    assert not Path("/dev/shm", token).exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_others_write_ends_nobody(sites: Sites, name: str) -> None:
    """All on one file system: while a run starts, too, when its process is on the way from our user to its own."""
    site = sites[name]
    with _others_filling(site.base):
        for _ in range(4):
            answer = site.run("sleep", "0.3")
            assert _ended(answer) == (0, None), answer


@pytest.mark.parametrize("name", NAMES)
def test_cancelling_ends_it_at_once(sites: Sites, name: str) -> None:
    token = secrets.token_hex(6)
    answer = sites[name].run("sh", "-c", attacks.STUBBORN, token, cancel_after=0.1, limits={"grace_seconds": 60.0})
    assert answer["limit"] == "CANCELLED", answer
    assert answer["seconds"] < 10
    wait_for(token, present=False)


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_ends_are_told_as_they_are(sites: Sites, name: str) -> None:
    site = sites[name]
    folder = site.workspace()
    built = site.run("sh", "-c", "mkdir out && echo made > out/file && echo said; echo too >&2", workspace=folder)
    assert (built["exit_code"], built["limit"], built["text"]) == (0, None, "said\ntoo\n")
    assert (folder / "out" / "file").read_text() == "made\n"
    assert (folder / "out" / "file").stat().st_uid == folder.stat().st_uid
    assert _ended(site.run("sh", "-c", "exit 7")) == (7, None)
    reopened = site.run("sh", "-c", "echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/null; cat /dev/stdin")
    assert (reopened["exit_code"], reopened["text"]) == (0, "a\nb\n"), reopened
    assert _ended(site.run("sh", "-c", "kill -SEGV $$")) == (None, 11)
    missing = site.run("no-such-program")
    assert (missing["exit_code"], missing["text"]) == (
        127,
        "cannot start 'no-such-program': No such file or directory\n",
    )
    assert not list(folder.parent.glob(f".{folder.name}*"))


def _ended(answer: dict[str, Any]) -> tuple[int | None, int | None]:
    return answer["exit_code"], answer["signal"]
