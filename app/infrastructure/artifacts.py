"""The artifact store: archives by digest in a folder, each written once and never changed.

    incoming/                      temporary files of uploads, removed when their request ends, or when they are old
    incoming/discard-abcd...-x     an archive on its way out
    sha256/ab/abcd...              the archives

An archive is on disk (file and folders synchronised) before `keep` returns, and appears under its name whole or not at
all. Two uploads of the same bytes at once are harmless: they name the same content.

An archive goes in two steps: out of its place under a name that still tells its digest, and then, if nobody stored it
again until that moment, altogether. Whoever finds one between the two, a reader, a start, a tick, puts it back: either
its remover was killed there, or it is garbage that will be found again.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from agent.archive import Limits
from app.domain.errors import NotFound, Unavailable
from config.settings import Settings

log = logging.getLogger(__name__)

_ABANDONED_AFTER = 3600.0
_ASIDE = re.compile(r"discard-([0-9a-f]{64})-[0-9a-f]+")
_NO_SPACE = "The artifact store cannot be written: {reason}."


def archive_limits(settings: Settings) -> Limits:
    """How much an archive may be and become."""
    return Limits(
        archive_bytes=settings.archive_bytes,
        unpacked_bytes=settings.archive_unpacked_bytes,
        entries=settings.archive_entries,
        ratio=settings.archive_ratio,
    )


class ArtifactStore:
    """`root` is made when it is missing. Digests are `sha256:<64 hex>`, as in the database."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full or broken disk is nobody's mistake: Unavailable, with its reason."""
        try:
            yield
        except OSError as error:
            raise unwritable(error) from error

    def prepare(self) -> None:
        """Make the folders, and `tidy`."""
        with self._writing():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self.tidy()

    def tidy(self) -> int:
        """Put back what a killed process was about to remove, and remove what uploads left behind that were cut off.
        Returns how many files went. One that resists is told, and is no reason to leave the others. Raises Unavailable.
        """
        gone = 0
        with self._writing():
            for leftover in self._leftovers():
                try:
                    gone += self._tidied(leftover)
                except FileNotFoundError:
                    continue  # somebody else has tidied it away
                except OSError as error:
                    log.warning("a leftover of the store cannot be tidied: %s", error)
        return gone

    def _tidied(self, leftover: Path) -> bool:
        """Whether it went."""
        if aside := _ASIDE.fullmatch(leftover.name):
            log.warning("an artifact that was half removed is put back", extra={"digest": aside[1]})
            self._put_back(leftover, self.path(aside[1]))
            return False
        if leftover.stat().st_mtime >= time.time() - _ABANDONED_AFTER:
            return False
        leftover.unlink()
        return True

    def _leftovers(self) -> list[Path]:
        return list(self._incoming.iterdir()) if self._incoming.is_dir() else []

    @staticmethod
    def _put_back(aside: Path, path: Path) -> None:
        """Never over what was stored there meanwhile. Raises FileNotFoundError when somebody else did it."""
        with suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()

    def _found_aside(self, digest: str) -> bool:
        """Whether an archive that is missing was on its way out, and is in its place again."""
        path = self.path(digest)
        for leftover in self._leftovers():
            aside = _ASIDE.fullmatch(leftover.name)
            if aside and aside[1] == path.name:
                with suppress(FileNotFoundError):
                    self._put_back(leftover, path)
        return path.is_file()

    def incoming(self) -> IO[bytes]:
        """A temporary file on the store's own disk, gone when it is closed."""
        with self._writing():
            return tempfile.NamedTemporaryFile(dir=self._incoming, prefix="upload-")

    def keep(self, upload: IO[bytes], digest: str) -> None:
        """Make an `incoming()` file durable under `digest`, which is that of its content. Raises Unavailable."""
        target = self.path(digest)
        with self._writing():
            upload.flush()
            os.fsync(upload.fileno())
            if _made_young(target):
                return
            for folder in (target.parent.parent, target.parent):
                folder.mkdir(exist_ok=True)
                _synchronise(folder.parent)
            staged = self._incoming / f"keep-{secrets.token_hex(16)}"
            os.link(upload.name, staged)
            staged.rename(target)
            _synchronise(target.parent)

    def renew(self, digest: str) -> bool:
        """Let an artifact count as just stored, so that nobody clears it away. False when it is not there."""
        with self._writing():
            return _made_young(self.path(digest))

    def older_than(self, shelf: int, seconds: float) -> list[str]:
        """Digests on one of the 256 shelves whose files were stored, or published again, longer ago than that."""
        folder = self._root / "sha256" / f"{shelf:02x}"
        horizon = time.time() - seconds
        if not folder.is_dir():
            return []
        return [f"sha256:{file.name}" for file in folder.iterdir() if file.stat().st_mtime < horizon]

    def discard(self, digest: str, seconds: float) -> bool:
        """Remove an artifact, unless it was stored again within that time: who does so makes its file young first."""
        path = self.path(digest)
        aside = self._incoming / f"discard-{path.name}-{secrets.token_hex(8)}"
        with self._writing():
            try:
                if _is_young(path, seconds):
                    return False
                path.rename(aside)
                if _is_young(aside, seconds):
                    self._put_back(aside, path)
                    return False
                aside.unlink()
            except FileNotFoundError:
                # It was not there, or somebody has put it back.
                return False
        return True

    def path(self, digest: str) -> Path:
        hexadecimal = digest.removeprefix("sha256:")
        return self._root / "sha256" / hexadecimal[:2] / hexadecimal

    def open(self, digest: str) -> BinaryIO:
        """The archive for reading. Raises NotFound, OSError."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            return self.existing(digest).open("rb")

    def existing(self, digest: str) -> Path:
        """The file of an archive. Raises NotFound."""
        path = self.path(digest)
        if not path.is_file() and not self._found_aside(digest):
            raise NotFound(f"There is no artifact {digest}.")
        return path

    def prove(self) -> None:
        """Write a few bytes, read them back, remove them. Raises OSError."""
        proof = self._incoming / f"proof-{secrets.token_hex(8)}"
        content = secrets.token_bytes(64)
        try:
            proof.write_bytes(content)
            if proof.read_bytes() != content:
                raise OSError("what was written is not what is read")
        finally:
            proof.unlink(missing_ok=True)


def unwritable(error: OSError) -> Unavailable:
    """What is to be raised when the store, or an `incoming()` file, cannot be written."""
    return Unavailable(_NO_SPACE.format(reason=error.strerror or error), retry_after=30)


def _made_young(path: Path) -> bool:
    """Whether there is such a file, which then counts as just stored."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _is_young(path: Path, seconds: float) -> bool:
    return path.stat().st_mtime >= time.time() - seconds


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
