"""Demos get folders of their own, and what is over is cleared away, but nothing that anybody still uses."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from examples.demo.folders import DemoFolder, folders, make_folder
from examples.demo.leftovers import processes_of, what_is_left
from examples.demo.stack import environment_of

_LIMIT = 30.0


def test_two_demos_have_two_folders(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path), make_folder(tmp_path)
    assert first.path != second.path
    assert first.being_told() and second.being_told()
    assert [folder.path for folder in folders(tmp_path)] == [first.path, second.path]


def test_what_is_over_is_removed_and_its_number_used_again(tmp_path: Path) -> None:
    (tmp_path / "1" / "data" / "logs").mkdir(parents=True)
    (tmp_path / "1" / "data" / "lock").touch()
    (tmp_path / "notes.txt").write_text("mine")
    folder = make_folder(tmp_path)
    assert folder.path == tmp_path / "1"
    assert not folder.data.exists()
    assert (tmp_path / "notes.txt").exists()


def test_the_folder_of_a_stack_that_is_up_stays(tmp_path: Path) -> None:
    kept = DemoFolder(tmp_path / "1")
    kept.data.joinpath("run").mkdir(parents=True)
    kept.data.joinpath("run", "stack.json").write_text(json.dumps({"pid": 17, "urls": {"api": "http://127.0.0.1:1"}}))
    lock = os.open(kept.data / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert kept.in_use()
        assert kept.supervisor() == 17
        assert kept.urls() == {"api": "http://127.0.0.1:1"}
        assert make_folder(tmp_path).path == tmp_path / "2"
    finally:
        os.close(lock)
    assert not kept.in_use()
    assert kept.supervisor() is None  # the number in the file may be anybody's by now


def test_the_folder_of_a_process_that_runs_stays(tmp_path: Path) -> None:
    used = tmp_path / "1"
    used.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=used, stdin=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + _LIMIT
            while not processes_of(used) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert [each.pid for each in processes_of(used)] == [process.pid]
            assert processes_of(tmp_path / "10") == []
            assert make_folder(tmp_path).path == tmp_path / "2"
        finally:
            process.kill()
    assert what_is_left(used) == []


def test_processes_are_found_by_their_environment_and_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    code = ("-c", "input()")
    by_variable = subprocess.Popen(
        [sys.executable, *code], env={"HOTSWAP_TLS_CA": f"{folder}/data/tls/ca.pem"}, stdin=subprocess.PIPE
    )
    by_argument = subprocess.Popen([sys.executable, *code, "--folder", str(folder)], stdin=subprocess.PIPE)
    neighbour = subprocess.Popen([sys.executable, *code, f"{folder}0/data"], stdin=subprocess.PIPE)
    try:
        wanted = {by_variable.pid, by_argument.pid}
        deadline = time.monotonic() + _LIMIT
        while {each.pid for each in processes_of(folder)} != wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert {each.pid for each in processes_of(folder)} == wanted
    finally:
        for process in (by_variable, by_argument, neighbour):
            process.communicate(b"\n")
    assert what_is_left(folder) == []


def test_nothing_of_another_hotswap_reaches_the_demo(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "1")
    outer = {"PATH": "/bin", "HOTSWAP_DATABASE_URL": "postgresql://elsewhere", "HOTSWAP_TOKEN": "t"}
    environment = environment_of(folder, outer)
    assert environment["PATH"] == "/bin"
    assert "HOTSWAP_DATABASE_URL" not in environment
    assert "HOTSWAP_TOKEN" not in environment
    assert environment["HOTSWAP_CONFIG"].startswith(str(folder.path))
