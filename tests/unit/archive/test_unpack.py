"""What is on the disk after unpacking, and what is not."""

from __future__ import annotations

import errno
import io
import os
import resource
import stat
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.archive import ArchiveInvalid, EntryKind, inspect, unpack
from agent.signatures import Digest
from tests.unit.archive.tarball import MANIFEST, archive, compressed, file, folder, hardlink, header, pax, symlink


def test_files_folders_and_links(tmp_path: Path) -> None:
    content = archive(
        folder("./"),
        folder("empty/"),
        file("bin/run", b"#!/bin/sh\n", mode=0o700),
        file("a/b/c/data", b"x" * 1_000_000),
        hardlink("same", "./a/b/c/data"),
        symlink("current", "a/b"),
        symlink("a/b/up", "../../bin/run"),
        symlink("dangling", "not/there"),
    )
    found = unpack(content, tmp_path / "r")
    release = tmp_path / "r"
    assert (release / "empty").is_dir()
    assert (release / "bin/run").read_bytes() == b"#!/bin/sh\n"
    assert (release / "same").samefile(release / "a/b/c/data")
    assert (release / "current").readlink() == Path("a/b")
    assert (release / "a/b/up").resolve() == (release / "bin/run").resolve()
    assert (release / "dangling").is_symlink()
    assert found.manifest.name == "test-module"
    assert found.unpacked_bytes == len(MANIFEST) + 10 + 1_000_000
    assert found.digest == Digest.of_bytes(content.getvalue())
    assert found.archive_bytes == len(content.getvalue())
    assert [entry.kind for entry in found.entries if entry.path == "same"] == [EntryKind.HARDLINK]
    assert inspect(content) == found


def test_modes_do_not_depend_on_umask_or_archive(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(archive(file("x", mode=0o777), file("d/y", mode=0o606), file("z", mode=0o100)), tmp_path / "r")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "r", *(tmp_path / "r").rglob("*")]}
    assert modes == {"r": 0o755, "x": 0o755, "d": 0o755, "y": 0o644, "z": 0o755, "hotswap.yaml": 0o644}


def test_a_file_may_be_read_from_anywhere_before(tmp_path: Path) -> None:
    content = archive(file("a"))
    content.seek(17)
    unpack(content, tmp_path / "r")


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_other_tools_write_is_read(format_: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    deep = source / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (source / "hotswap.yaml").write_bytes(MANIFEST)
    (deep / "grüße.txt").write_text("x")
    (source / "link").symlink_to("d" * 60)
    (source / "aa").write_text("y")
    os.link(source / "aa", source / "zz")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=format_) as tar:
        tar.add(source, arcname=".")
    unpack(out, tmp_path / "r")
    assert subprocess.run(["diff", "-r", source, tmp_path / "r"], check=False).returncode == 0
    assert (tmp_path / "r" / "zz").stat().st_nlink == 2


def test_what_the_systems_tar_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "s" / ("n" * 150)).mkdir(parents=True)
    (tmp_path / "s" / "hotswap.yaml").write_bytes(MANIFEST)
    (tmp_path / "s" / ("n" * 150) / ("m" * 150)).write_bytes(os.urandom(100_000))
    made = subprocess.run(["tar", "-C", tmp_path / "s", "-czf", "-", "."], capture_output=True, check=True)
    unpack(io.BytesIO(made.stdout), tmp_path / "r")
    assert subprocess.run(["diff", "-r", tmp_path / "s", tmp_path / "r"], check=False).returncode == 0


def test_a_comment_by_git_archive_is_no_entry(tmp_path: Path) -> None:
    found = unpack(archive(pax({"comment": "0123abcd"}, tarfile.XGLTYPE), file("a")), tmp_path / "r")
    assert [entry.path for entry in found.entries] == ["hotswap.yaml", "a"]


def test_unknown_extended_records_change_nothing(tmp_path: Path) -> None:
    records = {"mtime": "1.5", "LIBARCHIVE.xattr.user.x": "eA", "SCHILY.dev": "1", "uname": "root"}
    unpack(archive(pax(records), file("a", b"12")), tmp_path / "r")
    assert (tmp_path / "r" / "a").read_bytes() == b"12"


def test_the_digest_is_checked_over_the_bytes_that_were_unpacked(tmp_path: Path) -> None:
    content = archive(file("a"))
    digest = Digest.of_bytes(content.getvalue())
    unpack(content, tmp_path / "r", expected=digest)
    with pytest.raises(ArchiveInvalid, match="has the digest sha256:"):
        unpack(archive(file("b")), tmp_path / "s", expected=digest)
    assert not (tmp_path / "s").exists()


def test_a_destination_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "precious").write_text("x")
    with pytest.raises(FileExistsError):
        unpack(archive(file("a")), tmp_path / "r")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        unpack(archive(file("a")), tmp_path / "link")
    assert (tmp_path / "r" / "precious").exists()
    assert not (tmp_path / "nowhere").exists()


def test_when_the_disk_takes_no_more_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            unpack(archive(file("a"), file("b", os.urandom(500_000)), file("c")), tmp_path / "r")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    many = [file(f"d{number % 7}/f{number}") for number in range(300)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    unpack(archive(*many), tmp_path / "r")
    with pytest.raises(ArchiveInvalid):
        unpack(archive(*many, file("../x")), tmp_path / "s")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_everything_is_flushed_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[str] = set()
    fsync = os.fsync

    def record(descriptor: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    unpack(archive(file("d/e/a"), folder("empty"), *(file(f"f{number}") for number in range(100))), tmp_path / "r")
    # Its name in the parent is for whoever renames it to its last one.
    assert flushed == {str(path) for path in [tmp_path / "r", *(tmp_path / "r").rglob("*")]}


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    content = archive(file("big", os.urandom(2**20) * 12))
    tracemalloc.start()
    try:
        unpack(content, tmp_path / "r")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


class Interfering(io.BytesIO):
    """Does something when the reader comes to the second half."""

    def __init__(self, content: bytes, act: Iterator[None]) -> None:
        super().__init__(content)
        self._act = act

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > len(self.getvalue()) // 2:
            next(self._act, None)
        return super().read(size)


@pytest.mark.parametrize("last", ["d/late", "d/e/late"])
def test_a_folder_that_somebody_replaces_by_a_link_is_not_followed(last: str, tmp_path: Path) -> None:
    """Even an attacker who can write into the folder while it is filled gets nothing written elsewhere."""
    outside = tmp_path / "outside"
    (outside / "e").mkdir(parents=True)
    release = tmp_path / "r"

    def swap() -> Iterator[None]:
        (release / "d").rename(tmp_path / "moved")
        (release / "d").symlink_to(outside)
        yield

    noise = os.urandom(1_500_000)
    parts = [folder("d"), folder("d/e"), file("x/noise", noise), file("x/noise2", noise), file(last)]
    content = Interfering(archive(*parts).getvalue(), swap())
    with pytest.raises(OSError) as caught:
        unpack(content, release)
    assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    assert [path.name for path in outside.rglob("*")] == ["e"]
    assert not release.exists()


def test_sparse_looking_zeros_are_plain_content(tmp_path: Path) -> None:
    unpack(archive(header("z", size=600_000) + bytes(600_064)), tmp_path / "r")
    assert (tmp_path / "r" / "z").stat().st_size == 600_000


def test_folders_from_before_ustar(tmp_path: Path) -> None:
    old = header("d/", tarfile.AREGTYPE)
    unpack(archive(old, file("d/a")), tmp_path / "r")
    assert (tmp_path / "r" / "d" / "a").read_bytes() == b"x"


def test_zeros_at_the_end_of_a_tape_block_are_padding(tmp_path: Path) -> None:
    unpack(compressed(file("hotswap.yaml", MANIFEST) + bytes(10240)), tmp_path / "r")
