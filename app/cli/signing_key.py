"""The private key that a release is signed with, from the file that was named for it."""

from __future__ import annotations

from pathlib import Path

from agent.signatures import KeyInvalid, PrivateKey, load_private
from app.cli.configuration import Configuration
from app.cli.errors import UsageProblem


def signing_key(named: Path | None, configuration: Configuration) -> PrivateKey:
    """The key of `--key`, else of the configuration. Raises UsageProblem where there is none that can be used."""
    path = named or configuration.signing_key
    if path is None:
        raise UsageProblem(
            "no signing key: give --key FILE or HOTSWAP_SIGNING_KEY; `hotswap keys generate FILE` makes one, "
            "`hotswap keys trust FILE.pub` lets the server trust it"
        )
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise UsageProblem(f"cannot read the signing key {path}: {error.strerror}") from None
    try:
        return load_private(pem)
    except KeyInvalid as error:
        raise UsageProblem(f"{path}: {error}") from None
