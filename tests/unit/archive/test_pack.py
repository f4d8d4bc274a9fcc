"""Folders into archives: the same bytes every time, and nothing that a reader would refuse."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest

from agent.archive import ArchiveInvalid, Limits, inspect, pack, pack_bytes, unpack
from tests.unit.archive.tarball import MANIFEST


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A folder with a manifest."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "hotswap.yaml").write_bytes(MANIFEST)
    return folder


def names(content: bytes) -> list[str]:
    """What is in an archive."""
    return [entry.path for entry in inspect(io.BytesIO(content)).entries]


def test_the_same_folder_gives_the_same_bytes(module: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "ü", "a.d/x", "c/d/e"):
        (module / name).parent.mkdir(exist_ok=True, parents=True)
        (module / name).write_text(name)
    (module / "run").write_text("x")
    (module / "run").chmod(0o700)
    first = pack_bytes(module)
    other = tmp_path / "elsewhere"
    shutil.copytree(module, other, copy_function=shutil.copyfile)
    (other / "run").chmod(0o755)
    for path in other.rglob("*"):
        os.utime(path, (time.time() + 1000, 12345))
    assert pack_bytes(other) == first
    assert names(first) == ["a", "a.d", "a.d/x", "b", "c", "c/d", "c/d/e", "hotswap.yaml", "run", "ü"]


def test_nothing_of_machine_or_moment_is_in_it(module: Path) -> None:
    content = pack_bytes(module)
    assert content[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
    assert gzip.decompress(content)


def test_what_it_writes_other_tools_read(module: Path, tmp_path: Path) -> None:
    deep = module / ("long" * 30) / ("name" * 30)
    deep.mkdir(parents=True)
    (deep / "grüße").write_bytes(os.urandom(3000))
    (module / "link").symlink_to(("long" * 30) + "/" + ("name" * 30))
    with tarfile.open(fileobj=io.BytesIO(pack_bytes(module))) as tar:
        # Python has filters from 3.11.4 on (https://docs.python.org/3/library/tarfile.html#hints-for-further-verification).
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        tar.extractall(tmp_path / "out")
    assert (tmp_path / "out" / "link" / "grüße").read_bytes() == (deep / "grüße").read_bytes()


def test_pack_writes_in_order(module: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise AssertionError("a pipe cannot seek")

        tell = seek

    out = Pipe()
    pack(module, out)
    assert out.getvalue() == pack_bytes(module)


def test_what_no_release_needs_is_left_out(module: Path) -> None:
    left_out = (".git/HEAD", ".venv/bin/x", "a/__pycache__/b.pyc", "a/b.pyc", ".mypy_cache/x")
    for name in (*left_out, "a/kept.py", ".gitkeep"):
        (module / name).parent.mkdir(exist_ok=True, parents=True)
        (module / name).write_text("x")
    assert names(pack_bytes(module)) == [".gitkeep", "a", "a/kept.py", "hotswap.yaml"]


def test_hotswapignore(module: Path) -> None:
    (module / ".hotswapignore").write_text(
        "# a comment\n\n*.log\n/build/\ndocs/*.md\nnode_modules\n!kept.log\nsecret?\n**/tmp\ndata/**/x\n[a]\n"
    )
    kept = {"kept.log", "sub/build/a", "docs/deep/a.md", "secrets12", "data/y", "a", "build2"}
    left = {"a.log", "sub/b.log", "build/a", "docs/a.md", "sub/node_modules/a", "secret1", "q/tmp", "data/x", "[a]"}
    left |= {"data/a/b/x"}
    for name in kept | left:
        (module / name).parent.mkdir(exist_ok=True, parents=True)
        (module / name).write_text("x")
    files = {name for name in names(pack_bytes(module)) if (module / name).is_file()}
    assert files == kept | {"hotswap.yaml"}


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe", "not text"), (b"x\n" * 40_000, "more than 64 KiB")]
)
def test_a_bad_hotswapignore_is_named(module: Path, content: bytes, reason: str) -> None:
    (module / ".hotswapignore").write_bytes(content)
    with pytest.raises(ArchiveInvalid, match=reason):
        pack_bytes(module)


def test_without_a_manifest_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match=r"has no hotswap.yaml"):
        pack_bytes(tmp_path)
    with pytest.raises(ArchiveInvalid, match="is no folder"):
        pack_bytes(tmp_path / "nothing")


def test_what_cannot_be_unpacked_is_not_packed(module: Path) -> None:
    (module / "out").symlink_to("../..")
    with pytest.raises(ArchiveInvalid, match=r"'out': is a link to '\.\./\.\.', outside"):
        pack_bytes(module)
    (module / "out").unlink()
    os.mkfifo(module / "pipe")
    with pytest.raises(ArchiveInvalid, match="neither file, folder nor link"):
        pack_bytes(module)
    (module / ".hotswapignore").write_text("pipe\n")
    pack_bytes(module)
    (module / "li\nne").write_text("x")
    with pytest.raises(ArchiveInvalid, match="control characters"):
        pack_bytes(module)
    (module / "li\nne").unlink()
    Path(os.fsdecode(os.fsencode(module) + b"/\xff")).write_text("x")
    with pytest.raises(ArchiveInvalid, match="not UTF-8"):
        pack_bytes(module)


def test_limits_hold_for_packing_too(module: Path) -> None:
    (module / "a").write_bytes(bytes(1000))
    with pytest.raises(ArchiveInvalid, match="more than 1 entries"):
        pack_bytes(module, Limits(entries=1))
    with pytest.raises(ArchiveInvalid, match="more than 500 bytes"):
        pack_bytes(module, Limits(unpacked_bytes=500))


def test_a_folder_that_is_packed_whole_is_named_by_no_path(module: Path) -> None:
    (module / "a").touch()
    with pytest.raises(ArchiveInvalid, match=r"^it has more than 1 entries$"):
        pack(module, io.BytesIO(), Limits(entries=1), whole=True)


def test_a_hard_link_becomes_a_file_of_its_own(module: Path, tmp_path: Path) -> None:
    (module / "a").write_text("x")
    os.link(module / "a", module / "b")
    unpack(io.BytesIO(pack_bytes(module)), tmp_path / "r")
    assert not (tmp_path / "r" / "a").samefile(tmp_path / "r" / "b")
