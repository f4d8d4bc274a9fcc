"""Digests of archives and the publishers' signatures over them.

A signature is made over the 32 bytes of the archive's SHA-256, not over the archive: whoever holds the digest can
check it, and an archive of 256 MiB is read once. Ed25519 (RFC 8032) is what `generate` makes; RSA-PSS (RFC 8017, with
SHA-256, MGF1 over SHA-256, a salt of 32 bytes, keys of 3072 bits and more) is accepted for publishers whose hardware
knows nothing else. For both, the signed message is those 32 bytes.

Key files are PEM: PKCS#8 for private keys, SubjectPublicKeyInfo for public ones.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHUNK = 1 << 20
_ED25519_SIGNATURE_BYTES = 64
_MINIMUM_RSA_BITS = 3072
_MINIMUM_RSA_EXPONENT = 65537
_MAXIMUM_KEY_FILE_BYTES = 64 * 1024

# With a public key of small order anybody can make a signature that verifies for every message. These are the
# y coordinates of the eight such points and their non-canonical forms, as in libsodium's ge25519_has_small_order;
# the sign bit is masked off before the comparison.
_SMALL_ORDER = frozenset(
    bytes.fromhex(encoded)
    for encoded in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)

PrivateKey = Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = Ed25519PublicKey | rsa.RSAPublicKey


class KeyInvalid(ValueError):
    """A key file that is not a usable key; the text is one sentence for its owner."""


class SignatureInvalid(ValueError):
    """A signature that does not hold for this digest and key; the text is one sentence."""


class DigestInvalid(ValueError):
    """A text that is not `sha256:` and 64 lower-case hex digits."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The SHA-256 of an archive. `str(digest)` is `sha256:<64 hex>`, the form on every wire and in the database."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != hashlib.sha256().digest_size:
            raise DigestInvalid(f"a SHA-256 has 32 bytes, not {len(self.raw)}")

    def __str__(self) -> str:
        return f"sha256:{self.raw.hex()}"

    @property
    def hex(self) -> str:
        """The 64 hex digits without the prefix."""
        return self.raw.hex()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>`; raises `DigestInvalid`."""
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise DigestInvalid(f"a digest is 'sha256:' and 64 lower-case hex digits, not {text[:80]!r}")
        return cls(bytes.fromhex(match[1]))

    @classmethod
    def of_bytes(cls, content: bytes) -> Digest:
        """The digest of `content`."""
        return cls(hashlib.sha256(content).digest())

    @classmethod
    def of_file(cls, file: BinaryIO) -> Digest:
        """The digest of what `file` yields from its current position to its end, in bounded memory."""
        state = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            state.update(chunk)
        return cls(state.digest())


def generate() -> Ed25519PrivateKey:
    """A new Ed25519 key from the system's random source."""
    return Ed25519PrivateKey.generate()


def private_pem(key: PrivateKey) -> bytes:
    """The private key as PEM (PKCS#8, not encrypted): keep it in a file of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PublicKey) -> bytes:
    """The public key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def load_private(pem: bytes) -> PrivateKey:
    """Read a private key from PEM; raises `KeyInvalid` for what is no such key, encrypted, or too weak."""
    _refuse_other_files(pem, wanted="private")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise KeyInvalid("the private key is encrypted; store it without a passphrase, with mode 0600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(f"not a readable PEM private key: {_first_line(error)}") from error
    if not isinstance(key, Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise KeyInvalid(_unsupported(key))
    _refuse_weak(key.public_key())
    return key


def load_public(pem: bytes) -> PublicKey:
    """Read a public key from PEM; raises `KeyInvalid` for what is no such key, or too weak."""
    _refuse_other_files(pem, wanted="public")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(f"not a readable PEM public key: {_first_line(error)}") from error
    if not isinstance(key, Ed25519PublicKey | rsa.RSAPublicKey):
        raise KeyInvalid(_unsupported(key))
    _refuse_weak(key)
    return key


def key_id(key: PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the public key in DER (SubjectPublicKeyInfo)."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def sign(key: PrivateKey, digest: Digest) -> str:
    """The base64 signature of `key` over the 32 bytes of `digest`."""
    return base64.b64encode(sign_message(key, digest.raw)).decode("ascii")


def verify(key: PublicKey, digest: Digest, signature: str) -> None:
    """Return if `signature` (base64; surrounding white space is ignored) is `key`'s over `digest`.

    Raises `SignatureInvalid` otherwise, also for a text that is no base64 and for one of the wrong length.
    """
    try:
        verify_message(key, digest.raw, _decoded(signature))
    except InvalidSignature as error:
        raise SignatureInvalid(f"the signature is not one of key {key_id(key)} over {digest}") from error


def sign_message(key: PrivateKey, message: bytes) -> bytes:
    """The signature of `key` over `message` itself."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, _pss(), hashes.SHA256())


def verify_message(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Return if `signature` is of `key` over `message`. Raises `InvalidSignature`, `SignatureInvalid` by its length."""
    if not isinstance(key, Ed25519PublicKey):
        return key.verify(signature, message, _pss(), hashes.SHA256())
    if len(signature) != _ED25519_SIGNATURE_BYTES:
        raise SignatureInvalid(f"an Ed25519 signature has 64 bytes, this one has {len(signature)}")
    return key.verify(signature, message)


def _pss() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256().digest_size)


def _decoded(signature: str) -> bytes:
    try:
        raw = base64.b64decode(signature.strip().encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise SignatureInvalid("the signature is not base64") from error
    if not raw:
        raise SignatureInvalid("the signature is empty")
    return raw


def _refuse_other_files(pem: bytes, wanted: str) -> None:
    """Say plainly which file was given in place of a PEM key of the wanted sort."""
    if len(pem) > _MAXIMUM_KEY_FILE_BYTES:
        raise KeyInvalid(f"a PEM key file has at most {_MAXIMUM_KEY_FILE_BYTES} bytes, this one has {len(pem)}")
    head = pem.lstrip()[:64]
    if not head:
        raise KeyInvalid(f"the {wanted} key file is empty")
    if head.startswith((b"ssh-", b"ecdsa-")) or b"OPENSSH" in head:
        raise KeyInvalid("this is an OpenSSH key; make one with `hotswap keys generate FILE`")
    if b"BEGIN CERTIFICATE" in head:
        raise KeyInvalid("this is a certificate, not a key")
    if b"-----BEGIN" not in head:
        raise KeyInvalid(f"not a PEM file: a {wanted} key starts with -----BEGIN {wanted.upper()} KEY-----")
    if wanted == "public" and b"PRIVATE KEY" in head:
        raise KeyInvalid("this is a private key; give the public one (FILE.pub), and keep the private one to yourself")
    if wanted == "private" and b"PUBLIC KEY" in head:
        raise KeyInvalid("this is a public key; signing needs the private one")


def _refuse_weak(key: PublicKey) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _MINIMUM_RSA_BITS:
            raise KeyInvalid(f"an RSA key needs at least {_MINIMUM_RSA_BITS} bits, this one has {key.key_size}")
        if key.public_numbers().e < _MINIMUM_RSA_EXPONENT:
            raise KeyInvalid(f"an RSA key needs an exponent of at least {_MINIMUM_RSA_EXPONENT}")
        return
    raw = bytearray(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    raw[31] &= 0x7F
    if bytes(raw) in _SMALL_ORDER:
        raise KeyInvalid("this Ed25519 public key is a point of small order, for which anybody can make signatures")


def _unsupported(key: object) -> str:
    kind = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    return f"keys are Ed25519, or RSA of at least {_MINIMUM_RSA_BITS} bits; this one is {kind}"


def _first_line(error: Exception) -> str:
    text = str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__
