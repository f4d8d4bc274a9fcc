"""Where a demo keeps what it makes: `var/demo/<number>` in the clone, a new one each time.

data/         the stack's data folder, made by `hotswap up`; its `lock` is held while that stack runs
stack.log     what `hotswap up` printed
web-greeter/  the release to be published next (or price-service/, in the story of the pipeline)
config.toml   the login of the `hotswap` commands
tmp/          everybody's temporary files
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from examples.demo.leftovers import processes_of

CLONE = Path(__file__).resolve().parents[2]
DEMOS = CLONE / "var" / "demo"


@dataclass(frozen=True)
class DemoFolder:
    """One demo's folder."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "stack.log"

    @property
    def configuration(self) -> Path:
        return self.path / "config.toml"

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    @property
    def shown(self) -> str:
        """As the person in the clone would write it."""
        return str(self.path.relative_to(CLONE)) if self.path.is_relative_to(CLONE) else str(self.path)

    def urls(self) -> dict[str, str] | None:
        """The URLs of its stack while that is ready."""
        found = self._stack_file().get("urls")
        return {str(name): str(url) for name, url in found.items()} if isinstance(found, dict) else None

    def supervisor(self) -> int | None:
        """The process id of its `hotswap up`, while that is ready."""
        found = self._stack_file().get("pid")
        return found if isinstance(found, int) and self.in_use() else None

    def in_use(self) -> bool:
        """Whether a `hotswap up` holds the lock of its data folder."""
        return _is_locked(self.data / "lock")

    def being_told(self) -> bool:
        """Whether a demo is under way in it."""
        return _is_locked(self.path)

    def password(self, user: str) -> str:
        """The generated password of one of the stack's users."""
        return str(json.loads((self.data / "credentials.json").read_text("utf-8"))[user])

    def remove(self) -> None:
        """Everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _stack_file(self) -> dict[str, object]:
        try:
            read = json.loads((self.data / "run" / "stack.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}


def make_folder(demos: Path = DEMOS) -> DemoFolder:
    """A new folder, with the lowest number that is free, after those of demos that are over have been removed.

    It is ours until this process ends.
    """
    demos.mkdir(parents=True, exist_ok=True)
    # One at a time, so that nobody removes what another has just made and not yet locked.
    with _locked(demos):
        _sweep(demos)
        number = next(number for number in itertools.count(1) if not (demos / str(number)).exists())
        folder = DemoFolder(demos / str(number))
        folder.path.mkdir()
        folder.temporary.mkdir()
        fcntl.flock(os.open(folder.path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX)
    return folder


def folders(demos: Path = DEMOS) -> Iterator[DemoFolder]:
    """Those that are there, of demos that run, were kept or failed."""
    with suppress(FileNotFoundError):
        for path in sorted(demos.iterdir()):
            if path.name.isdecimal() and path.is_dir():
                yield DemoFolder(path)


def _sweep(demos: Path) -> None:
    """Remove the folders of demos that are over, failed ones included. One that anything still uses stays."""
    for folder in folders(demos):
        if not folder.being_told() and not folder.in_use() and not processes_of(folder.path):
            folder.remove()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Whether somebody holds it; false for what is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
