"""The certificates of docs/agent-protocol.md: a CA of one's own, and what it signs for orchestrator and nodes.

For the local stack and for tests. Keys are ECDSA P-256; everything is PEM (PKCS#8 keys).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.tls import NODE_ORGANIZATION, ORCHESTRATOR_NAME, ORCHESTRATOR_ORGANIZATION, node_name

CA_LIFETIME = dt.timedelta(days=3650)
CERTIFICATE_LIFETIME = dt.timedelta(days=825)
CLOCK_SKEW = dt.timedelta(hours=1)  # the other side's clock may be behind


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, certificate_file: Path, key_file: Path) -> None:
        """Write both, the key with mode 0600 from the first byte on."""
        certificate_file.write_bytes(self.certificate)
        key_file.unlink(missing_ok=True)
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self.key)


CertificateAuthority = IssuedCertificate


def make_ca(common_name: str = "HotSwap development CA") -> CertificateAuthority:
    """A new CA that can sign leaf certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(name, name, key.public_key(), CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def issue_orchestrator_certificate(ca: CertificateAuthority, addresses: Iterable[str] = ()) -> IssuedCertificate:
    """Client of the agents and server of the agent listener. `addresses` are IP addresses, for other clients."""
    subject = [(NameOID.ORGANIZATION_NAME, ORCHESTRATOR_ORGANIZATION), (NameOID.COMMON_NAME, "orchestrator")]
    return _issue(ca, subject, ORCHESTRATOR_NAME, addresses)


def issue_node_certificate(
    ca: CertificateAuthority, node_id: str, environment: str, addresses: Iterable[str] = ()
) -> IssuedCertificate:
    """Server of the node's API and client of the agent listener."""
    subject = [
        (NameOID.ORGANIZATION_NAME, NODE_ORGANIZATION),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, environment),
        (NameOID.COMMON_NAME, node_id),
    ]
    return _issue(ca, subject, node_name(node_id), addresses)


def _issue(
    ca: CertificateAuthority, subject: list[tuple[x509.ObjectIdentifier, str]], dns: str, addresses: Iterable[str]
) -> IssuedCertificate:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the CA's key is not an ECDSA key")
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(dns)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    certificate = (
        _builder(issuer.subject, name, key.public_key(), CERTIFICATE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return IssuedCertificate(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
