"""Cutting log files in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.holder.logs import cut


def test_keeps_the_newest_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    assert cut(path, 2000)
    os.write(writer, b"after\n")
    os.close(writer)
    lines = path.read_text().splitlines()
    assert lines[-2:] == ["line 999", "after"]
    assert lines[0].startswith("line ")
    assert 900 < path.stat().st_size <= 1006
    assert not cut(path, 2000)


def test_one_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5000)
    assert cut(path, 1000)
    assert path.read_bytes() == b"x" * 500


@pytest.mark.parametrize("what", ["missing", "link", "folder"])
def test_what_is_no_log(tmp_path: Path, what: str) -> None:
    path, target = tmp_path / "log", tmp_path / "target"
    target.write_bytes(b"x" * 5000)
    if what == "link":
        path.symlink_to(target)
    elif what == "folder":
        path.mkdir()
    assert not cut(path, 1000)
    assert target.stat().st_size == 5000
