"""The store's promise: what was stored is there, also when somebody is killed who was about to take it away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.domain.errors import NotFound, Unavailable
from app.infrastructure.artifacts import ArtifactStore

YOUNG = 3600.0
DIGEST = f"sha256:{7:064x}"
_KILLED = """
import os, signal, sys
from pathlib import Path
from app.infrastructure import artifacts

step = int(sys.argv[2])
def die(path, seconds, look=artifacts._is_young):
    global step
    step -= 1
    if step == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return look(path, seconds)

artifacts._is_young = die
artifacts.ArtifactStore(Path(sys.argv[1])).discard(sys.argv[3], 3600.0)
"""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "store")
    store.prepare()
    return store


def keep(store: ArtifactStore, content: bytes = b"content", digest: str = DIGEST, *, old: bool = False) -> Path:
    with store.incoming() as file:
        file.write(content)
        store.keep(file, digest)
    path = store.path(digest)
    if old:
        make_old(path)
    return path


def make_old(path: Path) -> None:
    then = time.time() - 2 * YOUNG
    os.utime(path, (then, then))


def incoming(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "store/incoming").iterdir())


def kill_in_discard(tmp_path: Path, step: int) -> None:
    """By a process that kills itself just before it looks for the `step`-th time how young the file is: 1 is before it
    has touched anything, 2 when the file is out of its place."""
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, os.fspath(tmp_path / "store"), str(step), DIGEST],
        check=False, env={**os.environ, "PYTHONPATH": os.fspath(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    assert ended.returncode == -9


def test_what_is_old_goes_and_what_is_young_stays(store: ArtifactStore, tmp_path: Path) -> None:
    path = keep(store)
    assert not store.discard(DIGEST, YOUNG)
    assert path.read_bytes() == b"content"
    make_old(path)
    assert store.discard(DIGEST, YOUNG)
    assert not store.discard(DIGEST, YOUNG)
    with pytest.raises(NotFound):
        store.open(DIGEST)
    assert incoming(tmp_path) == []


@pytest.mark.parametrize("finder", ["open", "existing", "prepare", "tidy", "discard"])
def test_one_that_was_being_removed_when_its_remover_was_killed_is_put_back(
    store: ArtifactStore, tmp_path: Path, finder: str
) -> None:
    path = keep(store, old=True)
    kill_in_discard(tmp_path, 2)
    assert not path.exists()
    (aside,) = incoming(tmp_path)
    assert path.name in aside
    match finder:
        case "open":
            with store.open(DIGEST) as archive:
                assert archive.read() == b"content"
        case "existing":
            assert store.existing(DIGEST).read_bytes() == b"content"
        case "prepare":
            store.prepare()
        case "tidy":
            assert store.tidy() == 0
        case _:
            assert not store.discard(DIGEST, YOUNG), "it is in nobody's way"
            store.tidy()
    assert path.read_bytes() == b"content"
    assert incoming(tmp_path) == []
    assert store.discard(DIGEST, YOUNG), "it is as old as it was"


def test_one_that_was_stored_again_meanwhile_is_not_written_over(store: ArtifactStore, tmp_path: Path) -> None:
    path = keep(store, old=True)
    kill_in_discard(tmp_path, 2)
    keep(store)
    store.tidy()
    assert incoming(tmp_path) == []
    assert not store.discard(DIGEST, YOUNG), "the young one stayed"
    assert path.read_bytes() == b"content"


def test_one_that_is_published_between_the_two_steps_is_in_its_place_again(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing makes it young while it is still in its place; the answer is given; then it is moved aside."""
    path = keep(store, old=True)
    rename = Path.rename

    def published_first(self: Path, target: Path) -> Path:
        if self == path:
            keep(store)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", published_first)
    assert not store.discard(DIGEST, YOUNG)
    assert path.read_bytes() == b"content"
    assert incoming(tmp_path) == []


def test_what_uploads_left_behind_goes_when_it_is_old(store: ArtifactStore, tmp_path: Path) -> None:
    for name in ("upload-old", "upload-young", "keep-old", "proof-old", "discard-of-an-older-form"):
        (tmp_path / "store/incoming" / name).write_bytes(b"x")
        if "young" not in name:
            make_old(tmp_path / "store/incoming" / name)
    stubborn = tmp_path / "store/incoming/a-folder-by-mistake"
    stubborn.mkdir()
    make_old(stubborn)
    store.prepare()
    assert incoming(tmp_path) == ["a-folder-by-mistake", "upload-young"]


def test_a_store_that_was_never_made_has_nothing_to_tidy(tmp_path: Path) -> None:
    assert ArtifactStore(tmp_path / "none").tidy() == 0
    with pytest.raises(NotFound):
        ArtifactStore(tmp_path / "none").open(DIGEST)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in its place")
    with pytest.raises(Unavailable, match="The artifact store cannot be written"):
        ArtifactStore(tmp_path / "file").prepare()
