"""The key with which this orchestrator attests what it builds, and the builders whose attestations it believes.

Ours is believed always. Those of other orchestrators over the same database, and our own of before a rotation, are
believed as long as their public halves lie in a folder, as nodes do it: what was built stays deployable.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.signatures import KeyInvalid, PrivateKey, PublicKey, key_id, load_private
from agent.trust import TrustedKeys
from config.settings import Settings


class BuilderKeyUnusable(Exception):
    """There is no key to attest with, or to check attestations with; one sentence."""


def builder_key(settings: Settings) -> PrivateKey:
    """Ours. Raises BuilderKeyUnusable."""
    if settings.attestation_key is None:
        raise BuilderKeyUnusable("this orchestrator has no key to attest builds with: set HOTSWAP_ATTESTATION_KEY")
    try:
        return load_private(settings.attestation_key.read_bytes())
    except (OSError, KeyInvalid) as error:
        raise BuilderKeyUnusable(f"the key of HOTSWAP_ATTESTATION_KEY cannot be used: {error}") from error


def trusted_builders(settings: Settings) -> Mapping[str, PublicKey]:
    """Public keys by their id, as of now. A file of the folder that is no key is named in the log.

    Raises BuilderKeyUnusable: our own or the folder cannot be read, or there is neither.
    """
    try:
        trusted = dict(TrustedKeys(settings.trusted_builders_dir).by_id())
    except OSError as error:
        raise BuilderKeyUnusable(f"the folder of HOTSWAP_TRUSTED_BUILDERS_DIR cannot be read: {error}") from error
    if settings.attestation_key is None and settings.trusted_builders_dir is not None:
        return trusted
    ours = builder_key(settings).public_key()
    return {**trusted, key_id(ours): ours}
