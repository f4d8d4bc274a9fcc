"""Every archive that is refused, with the reason its author reads; and that unpacking it leaves nothing anywhere."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from agent.archive import ArchiveInvalid, Limits, inspect, unpack
from agent.manifest import ManifestInvalid
from tests.unit.archive.tarball import (
    END,
    MANIFEST,
    archive,
    compressed,
    file,
    folder,
    hardlink,
    header,
    padded,
    pax,
    raw_header,
    symlink,
)

GOOD = archive(file("a")).getvalue()

REFUSED: dict[str, tuple[io.BytesIO, str]] = {
    # the container
    "empty": (io.BytesIO(b""), "is empty"),
    "not gzip": (io.BytesIO(b"PK\x03\x04 a zip"), "is not gzip"),
    "plain tar": (io.BytesIO(gzip.decompress(GOOD)), "is not gzip"),
    "magic only": (io.BytesIO(b"\x1f\x8b"), "truncated"),
    "truncated": (io.BytesIO(GOOD[:-20]), "truncated"),
    "truncated trailer": (io.BytesIO(GOOD[:-4]), "truncated"),
    "wrong checksum": (io.BytesIO(GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:]), "damaged"),
    "damaged": (io.BytesIO(GOOD[:12] + b"\xff\xff\xff" + GOOD[15:]), "damaged"),
    "trailing garbage": (io.BytesIO(GOOD + b"#!/bin/sh"), "after the end of its gzip data"),
    "trailing zeros": (io.BytesIO(GOOD + b"\0"), "after the end of its gzip data"),
    "two members": (io.BytesIO(GOOD + GOOD), "several gzip members"),
    "tar in two members": (
        io.BytesIO(gzip.compress(gzip.decompress(GOOD)[:512]) + gzip.compress(gzip.decompress(GOOD)[512:])),
        "several gzip members",
    ),
    # the tar
    "empty gzip": (compressed(b""), "no end mark"),
    "only an end mark": (compressed(END), "holds nothing"),
    "no tar": (compressed(b"hello" * 1000), "no tar"),
    "no end mark": (compressed(file("hotswap.yaml", MANIFEST)), "no end mark"),
    "cut in a header": (compressed(file("hotswap.yaml", MANIFEST) + header("a")[:100]), "truncated"),
    "cut in a body": (compressed(file("hotswap.yaml", MANIFEST) + header("a", size=5000) + b"x" * 100), "truncated"),
    "cut in padding": (compressed(header("a", size=100) + b"x" * 100), "truncated"),
    "one block of zeros": (compressed(file("a") + bytes(512) + file("b") + END), "single block of zeros"),
    "half an end mark": (compressed(file("hotswap.yaml", MANIFEST) + bytes(512)), "single block of zeros"),
    "something after the end": (compressed(file("hotswap.yaml", MANIFEST) + END + file("a")), "after the end mark"),
    "wrong header checksum": (archive(header("a").replace(b"ustar", b"ustas")), "checksum"),
    "size that is no number": (archive(raw_header(b"a")[:124] + b"x" * 12 + raw_header(b"a")[136:]), "no tar"),
    # names
    "absolute": (archive(raw_header(b"/etc/passwd")), "absolute path"),
    "parent": (archive(raw_header(b"../a")), "contains '..'"),
    "parent inside": (archive(raw_header(b"a/../../b")), "contains '..'"),
    "parent at the end": (archive(raw_header(b"a/..")), "contains '..'"),
    "parent by pax": (archive(pax({"path": "../../a"}), file("b")), "contains '..'"),
    "absolute by pax": (archive(pax({"path": "/a"}), file("b")), "absolute path"),
    "parent by GNU long name": (archive(file("../" + "a" * 150)), "contains '..'"),
    "parent by prefix": (archive(raw_header(b"a", magic=b"ustar\x0000" + bytes(80) + b"..")), "contains '..'"),
    "not UTF-8": (archive(raw_header(b"a\xff\xfe")), "not UTF-8"),
    "control character": (archive(raw_header(b"a\x1b[2Jb")), "control characters"),
    "line break": (archive(raw_header(b"a\nb")), "control characters"),
    "C1 control": (archive(raw_header("a\u009bb".encode())), "control characters"),
    "null by pax": (archive(pax({"path": "a\0b"}), file("b")), "control characters"),
    "no name": (archive(raw_header(b"")), "without a name"),
    "part too long": (archive(file("a" * 256)), "more than 255 bytes"),
    "name too long": (archive(file("/".join(["a" * 100] * 11))), "at most 1024"),
    "too deep": (archive(file("/".join("a" * 41))), "41 folders deep"),
    "root as a file": (archive(raw_header(b"./.")), "module's folder itself"),
    # kinds
    "character device": (archive(header("a", tarfile.CHRTYPE)), "character device"),
    "block device": (archive(header("a", tarfile.BLKTYPE)), "block device"),
    "fifo": (archive(header("a", tarfile.FIFOTYPE)), "fifo"),
    "contiguous": (archive(header("a", tarfile.CONTTYPE)), "contiguous"),
    "sparse": (archive(raw_header(b"a", b"S")), "sparse"),
    "sparse by pax": (archive(pax({"GNU.sparse.major": "1", "GNU.sparse.name": "b"}), file("a")), "sparse"),
    "volume": (archive(raw_header(b"a", b"V")), "volume"),
    "multi-volume": (archive(raw_header(b"a", b"M")), "multi-volume"),
    "unknown type": (archive(raw_header(b"a", b"Z")), "unknown type 'Z'"),
    "setuid": (archive(file("a", mode=0o4755)), "setuid"),
    "setgid": (archive(file("a", mode=0o2755)), "setuid or setgid"),
    "folder with content": (archive(header("a", tarfile.DIRTYPE, size=5) + padded(b"12345")), "has content"),
    "old folder with content": (archive(raw_header(b"a/", size=5) + padded(b"12345")), "has content"),
    "link with content": (archive(header("a", tarfile.SYMTYPE, size=5, link="b") + padded(b"12345")), "has content"),
    # extended headers
    "pax too large": (archive(raw_header(b"p", b"x", 10**6) + bytes(10**6 + 512)), "at most 65536"),
    "pax of 500 MB": (archive(raw_header(b"p", b"x", 500 * 2**20)), "at most 65536"),
    "long name too large": (archive(raw_header(b"p", b"L", 10**6) + bytes(10**6 + 512)), "at most 65536"),
    "pax without entry": (archive(pax({"path": "a"})), "belongs to no entry"),
    "pax twice": (archive(pax({"path": "a"}), pax({"path": "b"}), file("c")), "two extended headers"),
    "pax and long name": (archive(pax({"path": "b"}), file("a" * 150)), "two extended headers"),
    "global path": (archive(pax({"path": "a"}, tarfile.XGLTYPE), file("b")), "global header"),
    "pax that does not parse": (archive(raw_header(b"p", b"x", 5) + padded(b"xxxxx"), file("a")), "does not parse"),
    "pax length too long": (archive(raw_header(b"p", b"x", 9) + padded(b"99 a=b\n\n\n"), file("a")), "does not parse"),
    "pax length too short": (archive(raw_header(b"p", b"x", 6) + padded(b"2 a=b\n"), file("a")), "does not parse"),
    "pax size that is none": (archive(pax({"size": "-1"}), file("a")), "no number"),
    # links
    "absolute link": (archive(symlink("a", "/etc/passwd")), "absolute path '/etc/passwd'"),
    "link out": (archive(symlink("a", "../x")), "outside the module's folder"),
    "link out from below": (archive(symlink("d/a", "../../x")), "outside the module's folder"),
    "link out through a link": (archive(symlink("d/e/top", "../.."), symlink("x", "d/e/top/..")), "outside"),
    "link out through a later link": (archive(symlink("x", "d/e/top/.."), symlink("d/e/top", "../..")), "outside"),
    "links in a circle": (archive(symlink("a", "b"), symlink("b", "a")), "in a circle"),
    "link to itself": (archive(symlink("a", "a")), "in a circle"),
    "link to nothing": (archive(symlink("a", "")), "link to nothing"),
    "link with null by pax": (archive(pax({"linkpath": "a\0b"}), symlink("a", "c")), "control characters"),
    "hard link out": (archive(hardlink("a", "../x")), "contains '..'"),
    "hard link to absolute": (archive(hardlink("a", "/etc/passwd")), "absolute path"),
    "hard link to nothing": (archive(hardlink("a", "b")), "no file that comes before"),
    "hard link to a later file": (archive(hardlink("a", "b"), file("b")), "no file that comes before"),
    "hard link to a link": (archive(symlink("s", "hotswap.yaml"), hardlink("a", "s")), "no file that comes before"),
    "hard link to a folder": (archive(folder("d"), hardlink("a", "d")), "no file that comes before"),
    # collisions
    "twice": (archive(file("a"), file("a")), "twice"),
    "twice, spelled differently": (archive(file("d/a"), file("./d//a")), "twice"),
    "folder twice": (archive(folder("a"), folder("a")), "twice"),
    "file replaced by a link": (archive(file("a"), symlink("a", "b")), "twice"),
    "link replaced by a file": (archive(symlink("a", "b"), file("a")), "twice"),
    "through a link": (archive(symlink("a", "."), file("a/b")), "lies below 'a', which is a symlink"),
    "through a deeper link": (archive(symlink("d/a", "."), file("d/a/b/c")), "lies below 'd/a'"),
    "below a file": (archive(file("a"), file("a/b")), "lies below 'a', which is a file"),
    "folder becomes a file": (archive(file("a/b"), file("a")), "has entries below it"),
    "folder becomes a link": (archive(file("a/b"), symlink("a", "c")), "has entries below it"),
    # the manifest
    "no manifest": (archive(file("a"), manifest=None), "has no hotswap.yaml at its root"),
    "manifest deeper": (archive(file("mod/hotswap.yaml", MANIFEST), manifest=None), "tar -C mod"),
    "manifest is a link": (archive(file("m"), symlink("hotswap.yaml", "m"), manifest=None), "must be a plain file"),
    "manifest is a folder": (archive(folder("hotswap.yaml"), manifest=None), "must be a plain file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_its_reason(name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(ArchiveInvalid) as caught:
        inspect(content)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", REFUSED)
def test_unpacking_it_leaves_nothing(name: str, tmp_path: Path) -> None:
    content, reason = REFUSED[name]
    (tmp_path / "in").mkdir()
    with pytest.raises(ArchiveInvalid) as caught:
        unpack(content, tmp_path / "in" / "release")
    assert reason in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


def test_the_entry_is_named() -> None:
    with pytest.raises(ArchiveInvalid) as caught:
        inspect(archive(folder("logs"), header("logs/pipe", tarfile.FIFOTYPE)))
    assert caught.value.entry == "logs/pipe"
    assert str(caught.value) == "'logs/pipe': is a fifo"


def test_a_manifest_with_errors_is_told_as_such(tmp_path: Path) -> None:
    bad = archive(manifest=b"name: X\nkind: files\n")
    with pytest.raises(ManifestInvalid) as caught:
        inspect(bad)
    assert {problem.path for problem in caught.value.problems} == {"name", "version"}
    with pytest.raises(ManifestInvalid):
        unpack(bad, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_megabytes_is_refused_without_reading_it_all() -> None:
    with pytest.raises(ManifestInvalid, match="at most 65536"):
        inspect(archive(manifest=b"# " + os.urandom(200_000).hex().encode()))


class Counting(io.BytesIO):
    """Counts what is read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        self.taken += len(chunk)
        return chunk


def test_a_bomb_by_ratio_is_refused_early() -> None:
    bomb = archive(header("zeros", size=60 * 2**20) + bytes(60 * 2**20))
    with pytest.raises(ArchiveInvalid, match="unpacks to more than 200 times"):
        inspect(bomb)


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    """Zeros after the end mark are padding, but not without end."""
    with pytest.raises(ArchiveInvalid, match="unpacks to more than 200 times"):
        inspect(archive(bytes(30 * 2**20)))


def test_a_bomb_by_total_is_refused_at_the_header_that_goes_too_far() -> None:
    noise = os.urandom(2**20)
    content = Counting(archive(*(file(f"f{number}", noise) for number in range(8))).getvalue())
    with pytest.raises(ArchiveInvalid, match="'f3': unpacks to more than 3145791 bytes"):
        inspect(content, Limits(unpacked_bytes=3 * 2**20 + 63))
    assert content.taken < 4 * 2**20


def test_a_size_of_a_petabyte_is_refused_at_its_header() -> None:
    block = raw_header(b"a")
    size = b"\x80" + (2**50).to_bytes(11, "big")
    body = block[:124] + size + block[136:148] + b" " * 8 + block[156:]
    with pytest.raises(ArchiveInvalid, match="unpacks to more than"):
        inspect(archive(body[:148] + b"%06o\0 " % sum(body) + body[156:]))
    with pytest.raises(ArchiveInvalid, match="unpacks to more than"):
        inspect(archive(pax({"size": str(10**17)}), file("a")))


def test_too_many_entries_are_refused_at_the_limit() -> None:
    block = b"".join(header(f"f{number}") for number in range(2000))
    with pytest.raises(ArchiveInvalid, match="more than 1000 entries"):
        inspect(archive(block), Limits(entries=1000))


def test_a_hundred_thousand_entries_are_refused_quickly() -> None:
    one = bytearray(raw_header(b"f000000"))
    base = sum(one[:148]) + sum(one[156:]) + 256 - 6 * ord("0")
    blocks = []
    for number in range(100_000):
        digits = b"%06d" % number
        one[1:7] = digits
        one[148:156] = b"%06o\0 " % (base + sum(digits))
        blocks.append(bytes(one))
    content = Counting(archive(*blocks).getvalue())
    with pytest.raises(ArchiveInvalid, match="more than 20000 entries"):
        inspect(content, Limits(ratio=10_000))


def test_extended_headers_without_end_are_refused() -> None:
    with pytest.raises(ArchiveInvalid, match="too many headers"):
        inspect(archive(pax({"comment": "x"}) * 200), Limits(entries=10))


def test_links_through_each_other_cost_no_minutes() -> None:
    """Each of 4,000 links goes through forty others with long texts: 80 million steps without a bound."""
    detour = "d/../" * 100
    chain = [symlink(f"c{number}", f"{detour}c{number + 1}") for number in range(38)]
    many = [symlink(f"m{number}", f"{detour}c0") for number in range(4000)]
    with pytest.raises(ArchiveInvalid, match="too many folders and other links"):
        inspect(archive(folder("d"), file("c38"), *chain, *many))


def test_an_archive_over_the_size_limit_is_refused_unread() -> None:
    content = Counting(GOOD)
    with pytest.raises(ArchiveInvalid, match="at most 100"):
        inspect(content, Limits(archive_bytes=100))
    assert content.taken == 0


def test_extended_headers_count_towards_the_total() -> None:
    noise = pax({"comment": os.urandom(30_000).hex()})
    with pytest.raises(ArchiveInvalid, match="unpacks to more than 1000 bytes"):
        inspect(archive(noise * 19), Limits(unpacked_bytes=1000, entries=1))


def test_a_link_deeper_than_any_folder_is_refused() -> None:
    with pytest.raises(ArchiveInvalid, match="too many folders"):
        inspect(archive(symlink("a", "b/" * 200)))


@pytest.mark.parametrize("cut", [700, 1100, 2600, 3100])
def test_a_tar_cut_anywhere_is_truncated_however_it_arrives(cut: int) -> None:
    tar = file("hotswap.yaml", MANIFEST) + pax({"path": "é" * 120 + "/" + "é" * 120}) + file("b", b"y" * 600) + END
    with pytest.raises(ArchiveInvalid, match="truncated"):
        inspect(Trickling(compressed(tar[:cut]).getvalue()))


class Trickling(io.BytesIO):
    """Gives a few bytes at a time, as sockets do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 3) if size is not None and size >= 0 else 3)


def test_an_archive_that_arrives_in_crumbs_is_the_same() -> None:
    long = pax({"path": "é" * 120 + "/" + "é" * 120})
    content = archive(long, file("b", os.urandom(3000)), symlink("l", "hotswap.yaml")).getvalue()
    assert inspect(Trickling(content)) == inspect(io.BytesIO(content))
