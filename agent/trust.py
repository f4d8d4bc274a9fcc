"""The publishers' keys that are pinned on this node: a folder of PEM files, read anew when it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from agent import attestations
from agent.failures import FailureCode, OperationFailed
from agent.protocol import Target
from agent.signatures import Digest, KeyInvalid, PublicKey, SignatureInvalid, key_id, load_public, verify

log = logging.getLogger(__name__)

Fingerprint = tuple[tuple[str, int, int, int], ...]


class TrustedKeys:
    """Public keys by their id. A file that is no key is named in the log and trusted as nothing; so is no folder."""

    def __init__(self, folder: Path | None) -> None:
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

    def by_id(self) -> Mapping[str, PublicKey]:
        """All of them, as of now."""
        return self._current()

    def _current(self) -> dict[str, PublicKey]:
        fingerprint = self._look()
        if fingerprint != self._fingerprint:
            self._keys = self._read()
            self._fingerprint = fingerprint
        return self._keys

    def _look(self) -> Fingerprint:
        if self._folder is None or not self._folder.is_dir():
            return ()
        stats = [(file.name, file.stat()) for file in sorted(self._folder.iterdir()) if file.is_file()]
        return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _read(self) -> dict[str, PublicKey]:
        keys: dict[str, PublicKey] = {}
        for file in sorted(self._folder.iterdir()) if self._folder is not None and self._folder.is_dir() else ():
            try:
                key = load_public(file.read_bytes())
            except (KeyInvalid, OSError) as error:
                log.warning("%s is not trusted: %s", file, error)
                continue
            keys[key_id(key)] = key
        return keys


class Trust:
    """Who is believed on this node: publishers for what they sign, builders for what they say that they built of it."""

    def __init__(self, publishers: TrustedKeys, builders: TrustedKeys) -> None:
        self._publishers = publishers
        self._builders = builders

    def verify(self, target: Target, module: str) -> None:
        """Return if the target may run here as `module`, once what comes for its digest has that digest.

        Raises `OperationFailed` (verification_failed).
        """
        if target.attestation is None or target.source_digest is None:
            self._publishers.verify(Digest.parse(target.digest), target.signature, target.key_id)
            return
        self._publishers.verify(Digest.parse(target.source_digest), target.signature, target.key_id)
        try:
            build = attestations.opened(target.attestation, self._builders.by_id())
            attestations.check(
                build, module=module, version=target.version, source=target.source_digest, built=target.digest
            )
        except attestations.BuilderUnknown as error:
            raise OperationFailed(
                FailureCode.VERIFICATION_FAILED,
                f"the attestation is signed by {error.signers}, which this node does not trust",
            ) from error
        except attestations.AttestationInvalid as error:
            raise OperationFailed(FailureCode.VERIFICATION_FAILED, str(error)) from error
