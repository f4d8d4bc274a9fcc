"""The newest parts of several log files: equal shares, what one does not need goes to the others."""

from __future__ import annotations

from pathlib import Path

from agent.module_log import Written, newest


def files(folder: Path, *contents: bytes) -> list[Written]:
    made = []
    for number, content in enumerate(contents):
        file = folder / f"{number}.log"
        file.write_bytes(content)
        made.append(Written(file, f"side {number}", len(content), 1000.0 + number))
    return made


def test_none_and_one(tmp_path: Path) -> None:
    assert newest([], 100) == b""
    assert newest(files(tmp_path, b"0123456789"), 4) == b"6789"


def test_a_talkative_one_cannot_hide_another(tmp_path: Path) -> None:
    text = newest(files(tmp_path, b"it failed", b"x" * 5000), 1000)
    assert text == (
        b"--- side 0; last written 1970-01-01T00:16:40.000Z ---\nit failed\n"
        b"--- side 1; last written 1970-01-01T00:16:41.000Z ---\n" + b"x" * 991
    )
    bodies = newest(files(tmp_path, b"a" * 600, b"b" * 5000, b"c" * 10), 1000).splitlines()[1::2]
    assert bodies == [b"a" * 495, b"b" * 495, b"c" * 10]
