"""The publishers' keys that are pinned on this node: a folder of PEM files, read anew when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.failures import FailureCode, OperationFailed
from agent.signatures import Digest, KeyInvalid, PublicKey, SignatureInvalid, key_id, load_public, verify

log = logging.getLogger(__name__)

Fingerprint = tuple[tuple[str, int, int, int], ...]


class TrustedKeys:
    """Public keys by their id. A file that is no key is named in the log and trusted as nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fingerprint: Fingerprint | None = None
        self._keys: dict[str, PublicKey] = {}

    def verify(self, digest: Digest, signature: str, identifier: str) -> None:
        """Return if a trusted key signed the digest. Raises `OperationFailed` (verification_failed)."""
        key = self._current().get(identifier)
        if key is None:
            raise OperationFailed(
                FailureCode.VERIFICATION_FAILED, f"the key {identifier} is not among the trusted keys of this node"
            )
        try:
            verify(key, digest, signature)
        except SignatureInvalid as error:
            raise OperationFailed(FailureCode.VERIFICATION_FAILED, str(error)) from error

    def _current(self) -> dict[str, PublicKey]:
        fingerprint = self._look()
        if fingerprint != self._fingerprint:
            self._keys = self._read()
            self._fingerprint = fingerprint
        return self._keys

    def _look(self) -> Fingerprint:
        if not self._folder.is_dir():
            return ()
        stats = [(file.name, file.stat()) for file in sorted(self._folder.iterdir()) if file.is_file()]
        return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _read(self) -> dict[str, PublicKey]:
        keys: dict[str, PublicKey] = {}
        for file in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            try:
                key = load_public(file.read_bytes())
            except (KeyInvalid, OSError) as error:
                log.warning("%s is not trusted: %s", file, error)
                continue
            keys[key_id(key)] = key
        return keys
