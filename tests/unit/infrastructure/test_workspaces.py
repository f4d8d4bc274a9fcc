"""Workspaces of the dead go, those of the living stay, and none that cannot go is in anybody's way."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from uuid import uuid4

import pytest

from app.domain.errors import Unavailable
from app.infrastructure import workspaces
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.workspaces import workspace


def leave(work_dir: Path, name: str) -> Path:
    """As a killed process does."""
    folder = work_dir / name
    (folder / "tree").mkdir(parents=True)
    (folder / "lock").touch()
    return folder


def test_one_whose_process_died_goes_and_one_in_use_stays(tmp_path: Path) -> None:
    dead, living = leave(tmp_path, "dead"), leave(tmp_path, "living")
    with (living / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with workspace(tmp_path, uuid4(), 1) as place:
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["living", place.folder.name])
            place.tree.mkdir()
    assert not dead.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["living"]


@pytest.mark.parametrize("trouble", ["remove", "lock"])
def test_one_that_cannot_be_taken_away_is_told_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    leave(tmp_path, "stubborn")
    leave(tmp_path, "ordinary")
    lock = workspaces._locked

    def refusing(folder: Path) -> None:
        if folder.name == "stubborn":
            raise PermissionError(13, "Permission denied")
        remove_tree(folder)

    def busy(folder: Path) -> int:
        if folder.name == "stubborn":
            raise OSError(16, "Device or resource busy")
        return lock(folder)

    monkeypatch.setattr(workspaces, "remove_tree", refusing if trouble == "remove" else remove_tree)
    monkeypatch.setattr(workspaces, "_locked", busy if trouble == "lock" else lock)
    with caplog.at_level(logging.WARNING), workspace(tmp_path, uuid4(), 1) as place:
        assert place.log.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["stubborn"]
    assert "old workspace" in caplog.text or "cannot be removed" in caplog.text


def test_what_was_made_is_not_lost_with_a_folder_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(workspaces, "remove_tree", refusing)
    with caplog.at_level(logging.WARNING), workspace(tmp_path, uuid4(), 1):
        made = "made"
    assert made == "made"
    assert "cannot be removed" in caplog.text


def test_a_folder_that_cannot_be_made_is_a_disk_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="No workspace can be made"), workspace(tmp_path / "file", uuid4(), 1):
        raise AssertionError("there is none")


def test_one_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "young").mkdir()
    (tmp_path / "old").mkdir()
    os.utime(tmp_path / "old", (1, 1))
    with workspace(tmp_path, uuid4(), 1):
        assert (tmp_path / "young").is_dir()
        assert not (tmp_path / "old").exists()
