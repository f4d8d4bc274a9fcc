"""Log files: their newest part, tails, cutting in place, following over cuts and swaps."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent import logs


def test_the_newest_part(tmp_path: Path) -> None:
    file = tmp_path / "A.log"
    assert logs.newest(file, 10) == b""
    assert logs.size_of(file) == 0
    file.write_bytes(b"0123456789")
    assert logs.newest(file, 4) == b"6789"
    assert logs.newest(file, 100) == b"0123456789"
    assert logs.newest(file, 100, since=7) == b"789"
    assert logs.newest(file, 2, since=5) == b"89"
    assert logs.newest(file, 3, since=99) == b"789"  # it was cut since then


def test_tails_are_bounded_and_clean() -> None:
    assert len(logs.as_tail("x" * 10_000)) == logs.TAIL
    assert logs.as_tail("a\x00b") == "a\ufffdb"
    assert logs.as_tail("ä" * logs.TAIL).encode().__len__() <= logs.TAIL


def test_cutting_keeps_writers_going(tmp_path: Path) -> None:
    file = tmp_path / "A.log"
    writer = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(writer, b"x" * 100)
    assert not logs.cut(file, 100)
    os.write(writer, b"x")
    assert logs.cut(file, 100)
    os.write(writer, b"after")
    os.close(writer)
    assert file.read_bytes() == b"after"
    assert (tmp_path / "A.log.1").stat().st_size == 101


def test_following(tmp_path: Path) -> None:
    first, second = tmp_path / "A.log", tmp_path / "B.log"
    first.write_bytes(b"old one\n")
    current = [first]

    async def scenario() -> None:
        stream = logs.follow(lambda: current[0], 4)
        assert await anext(stream) == b"one\n"
        with first.open("ab") as file:
            file.write(b"two\n")
        assert await anext(stream) == b"two\n"
        first.write_bytes(b"3\n")  # cut in place
        assert await anext(stream) == b"3\n"
        second.write_bytes(b"new side\n")
        current[0] = second
        assert await anext(stream) == b"new side\n"
        await stream.aclose()

    asyncio.run(scenario())


def test_a_follower_of_a_quiet_module_hears_that_it_is_still_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "QUIET", 0.3)
    file = tmp_path / "A.log"
    file.write_bytes(b"one\n")

    async def scenario() -> None:
        stream = logs.follow(lambda: file, 4)
        assert await anext(stream) == b"one\n"
        assert [await anext(stream) for _ in range(2)] == [logs.STILL_HERE] * 2
        with file.open("ab") as writer:
            writer.write(b"two\n")
        while (said := await anext(stream)) == logs.STILL_HERE:
            pass
        assert said == b"two\n"
        await stream.aclose()

    asyncio.run(scenario())
