"""The name alone, of folders and archives that may be anything."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.errors import UsageProblem
from app.cli.module_name import in_archive, in_folder, name_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name: web\nversion: 1.0.0\n", "web"),
        ("kind: process\nrun: {command: [a, b], name: inner}\nname: 'web'\n", "web"),
        ("? [complex, key]\n: value\nname: web\n", "web"),
        ("base: &b {x: 1}\nother: *b\nname: web\n", "web"),
        ("name: web\nbroken: [", "web"),
        ("name: !!python/object:os.system ls\n", "ls"),
        ("name: Not A Name\n", "Not A Name"),
        ("version: name\n", None),
        ("name:\n", ""),
        ("name: [web]\n", None),
        ("- name: web\n", None),
        ("name", None),
        ("", None),
        ("\t", None),
        ("[" * 20000, None),
    ],
)
def test_names_in_yaml(text: str, name: str | None) -> None:
    assert name_of(text.encode()) == name


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise(content: bytes) -> None:
    name_of(content)


def archive(path: Path, *entries: tuple[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=format) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["hotswap.yaml", "./hotswap.yaml"])
def test_of_an_archive_that_a_server_will_refuse(tmp_path: Path, format: int, name: str) -> None:
    before = [("../evil", b"x" * 700), ("sub/hotswap.yaml", b"name: inner"), ("l" * 90, b"")]
    entries = [*before, (name, b"name: web\n: [")]
    assert in_archive(archive(tmp_path / "a.tar.gz", *entries, format=format)) == "web"


def test_a_long_name_before_it_is_no_hindrance(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", ("long/" * 60 + "file", b"12"), ("hotswap.yaml", b"name: web"))
    assert in_archive(path) == "web"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no hotswap.yaml"),
        (b"no gzip", "is not a .tar.gz"),
        (gzip.compress(b"")[:-4], "truncated"),
        (gzip.compress(b"no tar" * 200), "no hotswap.yaml"),
        (gzip.compress(bytes(2048)), "no hotswap.yaml"),
        (gzip.compress(b"\xff" * 512 * 8), "no hotswap.yaml"),
    ],
    ids=["empty", "no gzip", "truncated", "no tar", "an empty tar", "noise"],
)
def test_without_a_name_it_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UsageProblem, match=said):
        in_archive(path)


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    """The first header says 8 GiB; nothing of that is held in memory, and the end comes when the data does."""
    path = tmp_path / "a.tar.gz"
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 33
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 20))
    with pytest.raises(UsageProblem):
        in_archive(path)


def test_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="hotswap init"):
        in_folder(tmp_path)
    (tmp_path / "hotswap.yaml").write_text("version: 1.0.0")
    with pytest.raises(UsageProblem, match="has no name"):
        in_folder(tmp_path)
    (tmp_path / "hotswap.yaml").write_text("name: web")
    assert in_folder(tmp_path) == "web"
