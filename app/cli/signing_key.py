"""The private key that a release is signed with: in the file that was named for it, or in HOTSWAP_SIGNING_KEY itself.

A build server may put the key where the name of its file is wanted. So what was named is repeated in a message only if
it looks like a path: a job's log is read by many.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.signatures import KeyInvalid, PrivateKey, load_private
from app.cli.configuration import PEM_BEGINS, Configuration
from app.cli.errors import UsageProblem

_LIKE_A_KEY = re.compile(r"-----|PRIVATE KEY|[A-Za-z0-9+/=]{40,}")  # the base64 of an Ed25519 key has 64


def signing_key(named: Path | None, configuration: Configuration) -> PrivateKey:
    """The key of `--key`, else of the configuration. Raises UsageProblem where there is none that can be used."""
    if named is None and configuration.signing_key_pem is not None:
        return _loaded(configuration.signing_key_pem.encode(), "HOTSWAP_SIGNING_KEY")
    path = named or configuration.signing_key
    if path is None:
        raise UsageProblem(
            "no signing key: give --key FILE or HOTSWAP_SIGNING_KEY; `hotswap keys generate FILE` makes one, "
            "`hotswap keys trust FILE.pub` lets the server trust it"
        )
    try:
        pem = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageProblem(_unreadable(path, error)) from None
    return _loaded(pem, str(path))


def _loaded(pem: bytes, where: str) -> PrivateKey:
    try:
        return load_private(pem)
    except KeyInvalid as error:
        raise UsageProblem(f"{where}: {error}") from None


def _unreadable(path: Path, error: OSError | ValueError) -> str:
    text = str(path)
    if PEM_BEGINS in text:
        return "a key was given where the name of its file belongs; it is not shown here, but arguments are public"
    why = (error.strerror if isinstance(error, OSError) else None) or "no name of a file"
    if not text.isprintable() or _LIKE_A_KEY.search(text):
        return f"cannot read the signing key: {why}; what was named is not shown, since it may be the key itself"
    return f"cannot read the signing key {text}: {why}"
