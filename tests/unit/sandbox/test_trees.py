"""Hostile trees: counted without following a link or running out of anything, and taken away whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.infrastructure.sandbox.cage import disk
from app.infrastructure.sandbox.cage.disk import TooDeep
from app.infrastructure.sandbox.removal import remove_tree


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    folder.mkdir()
    return folder


def _measured(folder: Path, *, unlock: bool = False) -> disk.Usage:
    handle = os.open(folder, os.O_RDONLY)
    try:
        return disk.measure(handle, unlock=unlock)
    finally:
        os.close(handle)


def _dig(folder: Path, depth: int) -> None:
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("at the bottom", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_entries_and_blocks_are_counted(top: Path) -> None:
    (top / "a").mkdir()
    (top / "a" / "file").write_bytes(b"x" * 100_000)
    (top / "link").symlink_to("/usr")
    os.link(top / "a" / "file", top / "again")
    with (top / "hole").open("wb") as file:
        file.truncate(10**9)
    usage = _measured(top)
    assert usage.entries == 5
    assert 100_000 <= usage.size < 200_000


def test_a_deep_tree_is_refused_and_removed(top: Path) -> None:
    before = _descriptors()
    _dig(top, 5000)
    with pytest.raises(TooDeep):
        _measured(top)
    remove_tree(top)
    assert not top.exists()
    assert _descriptors() == before


def test_a_wide_and_branching_tree_is_removed(top: Path) -> None:
    for number in range(20):
        for inner in range(10):
            folder = top / f"a{number}" / f"b{inner}" / "c"
            folder.mkdir(parents=True)
            (folder / "file").touch()
    assert _measured(top).entries == 20 + 200 + 200 + 200
    remove_tree(top)
    assert not top.exists()


def test_nothing_outside_is_touched(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("ours")
    outside.chmod(0o755)
    (top / "to folder").symlink_to(outside)
    (top / "to file").symlink_to(outside / "file")
    (top / "up").symlink_to("..")
    (top / "a").mkdir()
    (top / "a" / "inner").symlink_to(outside, target_is_directory=True)
    assert _measured(top).entries == 5
    remove_tree(top)
    assert not top.exists()
    assert (outside / "file").read_text() == "ours"
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_link_or_file_in_place_of_the_folder_is_removed_itself(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "file").touch()
    for name in ("link", "file", "nothing"):
        remove_tree(tmp_path / name)
        assert not os.path.lexists(tmp_path / name)
    assert kept.is_dir()


def test_names_and_modes_do_not_matter(top: Path) -> None:
    raw = os.fsencode(top)
    Path(os.fsdecode(raw + b"/\xff\n")).mkdir()
    os.close(os.open(raw + b"/\xff\n/\xfe", os.O_CREAT | os.O_WRONLY))
    (top / "closed" / "inner").mkdir(parents=True)
    (top / "closed" / "inner" / "file").touch()
    (top / "closed" / "inner").chmod(0)
    (top / "closed").chmod(0)
    os.mkfifo(top / "fifo")
    (top / ("n" * 255)).mkdir()
    remove_tree(top)
    assert not top.exists()


def test_a_folder_closed_to_its_owner_is_counted_once_unlocked(top: Path) -> None:
    (top / "closed").mkdir()
    (top / "closed" / "file").write_bytes(b"x" * 5000)
    (top / "closed").chmod(0)
    assert _measured(top, unlock=True).entries == 2


def test_ownership_is_given_and_taken_back_of_what_it_was_given_only(top: Path) -> None:
    (top / "a").mkdir()
    (top / "a" / "file").touch()
    (top / "link").symlink_to("/etc/passwd")
    handle = os.open(top, os.O_RDONLY)
    user, group = os.getuid(), os.getgid()
    try:
        disk.give(handle, user, group)
        disk.give(handle, user, group, only_of=user + 1)
    finally:
        os.close(handle)
    assert (top / "a" / "file").stat().st_uid == user
