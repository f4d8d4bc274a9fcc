"""The keys of this stack: the publisher's, and the one with which builds are attested.

A key lies in `keys/NAME.key`, its public half beside it and in a folder of keys that are believed. To rotate one, stop
the stack, take NAME.key away (or put another in its place) and start again: what the old one signed is believed until
its file, NAME-<key id>.pub, is taken out of that folder.
"""

from __future__ import annotations

from pathlib import Path

from deploy.local.datafolder import DataFolder
from deploy.local.errors import StackError
from deploy.local.secret_files import write_private


class KeyUnusable(StackError):
    """A key file of the data folder holds no key."""


def make_signing_key(data: DataFolder) -> None:
    """The publisher's key of this stack, once; nodes and orchestrator trust the folder `keys/trusted`."""
    _make_key(data, "development", "trusted")


def make_builder_key(data: DataFolder) -> None:
    """The key with which this orchestrator attests what it builds, once; nodes and orchestrator trust the folder
    `keys/builders`."""
    _make_key(data, "builder", "builders")


def _make_key(data: DataFolder, name: str, folder: str) -> None:
    from agent import signatures

    key, believed = data.path("keys", f"{name}.key"), data.path("keys", folder)
    believed.mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        write_private(key, signatures.private_pem(signatures.generate()))
    try:
        public = signatures.public_pem(signatures.load_private(key.read_bytes()).public_key())
    except (OSError, signatures.KeyInvalid) as error:
        raise KeyUnusable(f"{key} cannot be used ({error}): take it away, and a new one is made") from None
    _keep_older(believed / f"{name}.pub", public)
    for path in (data.path("keys", f"{name}.pub"), believed / f"{name}.pub"):
        if not path.exists() or path.read_bytes() != public:
            write_private(path, public)


def _keep_older(path: Path, public: bytes) -> None:
    """Under a name of its own, before the new one takes its place."""
    from agent import signatures

    if not path.exists() or (older := path.read_bytes()) == public:
        return
    try:
        identifier = signatures.key_id(signatures.load_public(older))
    except signatures.KeyInvalid:
        return
    write_private(path.with_name(f"{path.stem}-{identifier}.pub"), older)
