"""What Build leaves behind, packed for Test: any name and link, bounded, and the same bytes for the same tree."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.trees import TreeTooLarge, pack_tree, unpack_tree

MIB = 1024 * 1024


def nothing() -> None:
    return None


def packed(folder: Path, most: int = 64 * MIB, look: Callable[[], None] = nothing) -> bytes:
    output = io.BytesIO()
    pack_tree(folder, output, most, look)
    return output.getvalue()


def unpacked(content: bytes, folder: Path, most: int = 64 * MIB, look: Callable[[], None] = nothing) -> Path:
    unpack_tree(io.BytesIO(content), folder, most, look)
    return folder


def blob(*entries: tuple[str, bytes, str | bytes]) -> bytes:
    """(name, type, content of a file or target of a link): what nobody of ours would pack."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o755
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.linkname = content
                archive.addfile(entry)
    return output.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/er/empty").mkdir()
    (tree / "deep/er/run.sh").write_text("#!/bin/sh\n")
    (tree / "deep/er/run.sh").chmod(0o755)
    (tree / "closed").write_bytes(b"closed")
    (tree / "closed").chmod(0o400)
    (tree / "out").symlink_to("/etc/passwd")
    (tree / "dangling").symlink_to(os.fsdecode(b"not-\xff-text"))
    (Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9"))).write_bytes(b"not UTF-8")
    os.link(tree / "closed", tree / "deep/closed too")
    os.link(tree / "closed", tree / "a name before the others")
    os.mkfifo(tree / "pipe")
    return tree


def shown(tree: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder, name)
            key = os.fspath(path.relative_to(tree))
            if path.is_symlink():
                found[key] = f"-> {os.readlink(path)!r}"  # noqa: PTH115 - may be no text
            else:
                found[key] = "folder" if path.is_dir() else (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def test_a_tree_comes_back_as_it_was_but_for_what_is_no_file(tree: Path, tmp_path: Path) -> None:
    copy = unpacked(packed(tree), tmp_path / "copy")
    (tree / "pipe").unlink()
    assert shown(copy) == shown(tree)


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first = packed(tree)
    for path in (tree, tree / "closed", tree / "deep"):
        os.utime(path, (1, 1))
    assert packed(tree) == first
    assert packed(unpacked(first, tmp_path / "copy")) == first


def test_a_file_of_many_names_is_packed_once_and_has_them_again(tmp_path: Path) -> None:
    """A mebibyte with fifty names was 51 MiB."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "0").write_bytes(os.urandom(MIB))
    for number in range(1, 50):
        os.link(tree / "0", tree / str(number))
    content = packed(tree, 2 * MIB)
    assert len(content) < 2 * MIB
    copy = unpacked(content, tmp_path / "copy", 2 * MIB)
    assert {path.stat().st_ino for path in copy.iterdir()} == {(copy / "0").stat().st_ino}
    assert (copy / "0").stat().st_nlink == 50


def test_holes_count_as_what_they_seem_to_hold(tmp_path: Path) -> None:
    """200 files of 1,900 MiB, none of which is on the disk: refused before the first is written."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(200):
        with (tree / str(number)).open("wb") as file:
            file.truncate(1900 * MIB)
    output = io.BytesIO()
    with pytest.raises(TreeTooLarge, match="holes in them counted"):
        pack_tree(tree, output, 1024 * MIB, nothing)
    assert len(output.getvalue()) < 4096


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = blob(("a", tarfile.REGTYPE, bytes(3 * MIB)), ("b", tarfile.REGTYPE, bytes(3 * MIB)))
    assert len(zeros) < 64 * 1024
    with pytest.raises(TreeTooLarge):
        unpacked(zeros, tmp_path / "copy", 5 * MIB)
    assert sum(path.stat().st_size for path in (tmp_path / "copy").iterdir()) <= 3 * MIB


class WantedNoMore(Exception):
    pass


class Patience:
    """A look that raises when it is asked for the `most`-th time."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise WantedNoMore


def test_both_ways_end_in_the_middle_of_a_file_when_they_are_wanted_no_more(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "large").open("wb") as file:
        file.truncate(32 * MIB)
    with pytest.raises(WantedNoMore):
        packed(tree, look=Patience(20))
    with pytest.raises(WantedNoMore):
        unpacked(packed(tree), tmp_path / "copy", look=Patience(5))
    assert 0 < (tmp_path / "copy/large").stat().st_size < 32 * MIB


@pytest.mark.parametrize(
    "entry",
    [
        ("../out", tarfile.REGTYPE, b"x"),
        ("a/../../out", tarfile.REGTYPE, b"x"),
        ("/tmp/hotswap-out", tarfile.REGTYPE, b"x"),
        ("link", tarfile.LNKTYPE, "../secret"),
        ("link", tarfile.LNKTYPE, "/etc/passwd"),
    ],
)
def test_no_name_leads_out(entry: tuple[str, bytes, str | bytes], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("ours")
    with pytest.raises(tarfile.TarError, match="leads out of the tree"):
        unpacked(blob(entry), tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_hard_link_to_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("ours")
    copy = unpacked(
        blob(("a", tarfile.SYMTYPE, "../secret"), ("b", tarfile.LNKTYPE, "a")), tmp_path / "copy"
    )  # fmt: skip
    assert (copy / "b").is_symlink()
    assert (tmp_path / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("damage", ["cut", "almost whole", "changed", "no gzip", "no tar", "nothing"])
def test_what_is_damaged_is_said_to_be(tree: Path, tmp_path: Path, damage: str) -> None:
    """Cut between two entries, too: tests would run on half of a tree."""
    content = packed(tree)
    broken = {
        "cut": content[: len(content) // 2],
        "almost whole": content[:-1],
        "changed": content[:-6] + bytes([content[-6] ^ 0xFF]) + content[-5:],
        "no gzip": b"PK" + content,
        "no tar": gzip.compress(b"no tar at all" * 100),
        "nothing": b"",
    }[damage]
    with pytest.raises(tarfile.TarError):
        unpacked(broken, tmp_path / "copy")


def test_names_longer_than_can_be_opened_are_an_error_of_the_system(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    below = os.open(tree, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=below)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = deeper
    os.close(below)
    with pytest.raises(OSError, match="File name too long"):
        packed(tree)
    remove_tree(tree)
