"""Digests, keys and signatures: what holds, what does not, and what a stranger is told."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.signatures import (
    Digest,
    DigestInvalid,
    KeyInvalid,
    SignatureInvalid,
    generate,
    key_id,
    load_private,
    load_public,
    private_pem,
    public_pem,
    sign,
    verify,
)

DIGEST = Digest.of_bytes(b"an archive")
EXPECTED = "A/zABNHWTPVtsXqj1lOPHjisqGimr6C2GtMZxJUFtdPv5VoN0wj9MfU7nCRpeqvITGUBWn33rvG5lpXoz3p6Bg=="
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
NO_PASSPHRASE = serialization.NoEncryption()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    """A key of 3072 bits, made once because it takes a moment."""
    return rsa.generate_private_key(65537, 3072)


def test_a_digest_is_written_and_read() -> None:
    text = "sha256:" + hashlib.sha256(b"an archive").hexdigest()
    assert str(DIGEST) == text
    assert Digest.parse(text) == DIGEST
    assert Digest.of_file(io.BytesIO(b"an archive")) == DIGEST
    assert DIGEST.hex == text[7:]


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha512:" + "a" * 64, "a" * 64,
             "sha256:" + "a" * 64 + "\n", " sha256:" + "a" * 64, "sha256:" + "g" * 64]
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(DigestInvalid, match="32 bytes"):
        Digest(b"short")


def test_a_signature_is_base64_of_64_bytes_over_the_32_of_the_digest() -> None:
    key = generate()
    signature = sign(key, DIGEST)
    raw = base64.b64decode(signature, validate=True)
    assert len(raw) == 64
    key.public_key().verify(raw, hashlib.sha256(b"an archive").digest())
    verify(key.public_key(), DIGEST, signature)
    verify(key.public_key(), DIGEST, f"  {signature}\n")


def test_a_key_id_is_the_start_of_the_hash_of_its_der() -> None:
    public = generate().public_key()
    der = public.public_bytes(serialization.Encoding.DER, SPKI)
    assert key_id(public) == hashlib.sha256(der).hexdigest()[:16]


def test_keys_survive_their_files() -> None:
    key = generate()
    again = load_private(private_pem(key))
    verify(load_public(public_pem(key.public_key())), DIGEST, sign(again, DIGEST))
    assert private_pem(key).startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert public_pem(key.public_key()).startswith(b"-----BEGIN PUBLIC KEY-----\n")


def test_rsa_pss_is_accepted(rsa_key: rsa.RSAPrivateKey) -> None:
    signature = sign(load_private(private_pem(rsa_key)), DIGEST)
    public = load_public(public_pem(rsa_key.public_key()))
    verify(public, DIGEST, signature)
    with pytest.raises(SignatureInvalid):
        verify(public, Digest.of_bytes(b"other"), signature)


def test_other_rsa_signatures_are_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    pkcs1 = rsa_key.sign(DIGEST.raw, padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(SignatureInvalid):
        verify(rsa_key.public_key(), DIGEST, base64.b64encode(pkcs1).decode())


def test_a_signature_is_that_of_rfc_8032() -> None:
    """Ed25519 is deterministic, so every tool gives this one (checked against `openssl pkeyutl -sign -rawin`)."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert sign(key, DIGEST) == EXPECTED


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("not base64!", "not base64"),
        ("AAAA", "64 bytes, this one has 3"),
        ("é" * 88, "not base64"),
        (base64.b64encode(bytes(65)).decode(), "64 bytes"),
        (base64.b64encode(bytes(64)).decode(), "not one of key"),
        (base64.b64encode(bytes(64)).decode() + "\n" + base64.b64encode(bytes(64)).decode(), "not base64"),
        ("\0" * 10, "not base64"),
    ],
)
def test_what_is_no_signature(signature: str, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=reason):
        verify(generate().public_key(), DIGEST, signature)


def test_a_signature_holds_for_one_key_and_one_digest() -> None:
    key = generate()
    signature = sign(key, DIGEST)
    with pytest.raises(SignatureInvalid, match="not one of key"):
        verify(generate().public_key(), DIGEST, signature)
    with pytest.raises(SignatureInvalid, match="not one of key"):
        verify(key.public_key(), Digest.of_bytes(b"another"), signature)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 511))
def test_every_bit_of_a_signature_counts(bit: int) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    raw = bytearray(base64.b64decode(sign(key, DIGEST)))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureInvalid):
        verify(key.public_key(), DIGEST, base64.b64encode(raw).decode())


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    with pytest.raises(SignatureInvalid):
        verify(key.public_key(), DIGEST, text)


def _small_order_points() -> list[bytes]:
    """The encodings with a y for which 8·P is the neutral element, computed here with the curve's own arithmetic."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def doubled(x: int, y: int) -> tuple[int, int]:
        t = d * x * x * y * y % p
        return 2 * x * y * pow(1 + t, -1, p) % p, (y * y + x * x) * pow(1 - t, -1, p) % p

    def x_of(y: int) -> int | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        root = pow(square, (p + 3) // 8, p)
        for candidate in (root, root * pow(2, (p - 1) // 4, p) % p):
            if candidate * candidate % p == square:
                return candidate
        return None

    listed = [0, 1, p - 1, p, p + 1]
    listed += [int.from_bytes(bytes.fromhex(h), "little") for h in (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )]
    found = []
    for y in listed:
        x = x_of(y % p)
        assert x is not None
        at = (x, y % p)
        for _ in range(3):
            at = doubled(*at)
        assert at == (0, 1), hex(y)
        found += [y.to_bytes(32, "little"), (y | 1 << 255).to_bytes(32, "little")]
    return found


def test_points_of_small_order_are_no_keys() -> None:
    for raw in _small_order_points():
        spki = bytes.fromhex("302a300506032b6570032100") + raw
        pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(spki) + b"\n-----END PUBLIC KEY-----\n"
        with pytest.raises(KeyInvalid):
            load_public(pem)


def _certificate() -> bytes:
    key = generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now)
    return builder.sign(key, None).public_bytes(PEM)


PRIVATE_REFUSED = {
    "empty": (b"  \n", "is empty"),
    "noise": (b"\x00\xff" * 20, "not a PEM file"),
    "public": (public_pem(generate().public_key()), "signing needs the private one"),
    "openssh": (generate().private_bytes(PEM, serialization.PrivateFormat.OpenSSH, NO_PASSPHRASE), "OpenSSH"),
    "encrypted": (generate().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x")), "encrypted"),
    "certificate": (_certificate(), "certificate"),
    "damaged": (private_pem(generate())[:60] + b"\n-----END PRIVATE KEY-----\n", "not a readable PEM private key"),
    "elliptic": (ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, NO_PASSPHRASE), "this one is E"),
    "ed448": (ed448.Ed448PrivateKey.generate().private_bytes(PEM, PKCS8, NO_PASSPHRASE), "Ed448"),
    "short": (rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, NO_PASSPHRASE), "at least 3072 bits"),
    "huge": (b"-----BEGIN PRIVATE KEY-----" + b"A" * 100_000, "at most 65536 bytes"),
}


@pytest.mark.parametrize("name", PRIVATE_REFUSED)
def test_what_is_no_private_key(name: str) -> None:
    pem, reason = PRIVATE_REFUSED[name]
    with pytest.raises(KeyInvalid, match=reason) as caught:
        load_private(pem)
    assert "\n" not in str(caught.value)


PUBLIC_REFUSED = {
    "empty": (b"", "is empty"),
    "noise": (b"hello", "starts with -----BEGIN PUBLIC KEY-----"),
    "private": (private_pem(generate()), "give the public one"),
    "ssh": (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI x@y", "OpenSSH"),
    "damaged": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a readable PEM public key"),
    "elliptic": (ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, SPKI), "keys are Ed25519"),
    "short": (rsa.generate_private_key(65537, 2048).public_key().public_bytes(PEM, SPKI), "at least 3072 bits"),
    "certificate": (_certificate(), "certificate"),
}


@pytest.mark.parametrize("name", PUBLIC_REFUSED)
def test_what_is_no_public_key(name: str) -> None:
    pem, reason = PUBLIC_REFUSED[name]
    with pytest.raises(KeyInvalid, match=reason):
        load_public(pem)


def test_a_weak_exponent_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    numbers = rsa.RSAPublicNumbers(3, rsa_key.public_key().public_numbers().n)
    with pytest.raises(KeyInvalid, match="exponent"):
        load_public(numbers.public_key().public_bytes(PEM, SPKI))


@given(st.binary(max_size=300))
def test_any_file_is_refused(noise: bytes) -> None:
    for content in (noise, b"-----BEGIN PUBLIC KEY-----\n" + noise, b"-----BEGIN PRIVATE KEY-----\n" + noise):
        with pytest.raises(KeyInvalid):
            load_public(content)
        with pytest.raises(KeyInvalid):
            load_private(content)
