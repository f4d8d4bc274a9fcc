"""Our attestation of a build: it ties a built artifact to the source that it was made of, and says how.

An in-toto statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) with a provenance predicate
(https://slsa.dev/spec/v1.0/provenance), signed in a DSSE envelope
(https://github.com/secure-systems-lab/dsse/blob/master/protocol.md). The orchestrator makes it once for each release
that has a build; a node checks it before it unpacks what was built.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature

from agent.signatures import (
    Digest,
    DigestInvalid,
    PrivateKey,
    PublicKey,
    SignatureInvalid,
    key_id,
    sign_message,
    verify_message,
)

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:hotswap:build:v1"
LARGEST = 256 * 1024
_MOST_SIGNATURES = 8


class AttestationInvalid(ValueError):
    """An attestation that is none, that no trusted key signed, or that is of something else; one sentence."""


class BuilderUnknown(AttestationInvalid):
    """Only keys that are not trusted signed it; `signers` are their ids, as it names them."""

    def __init__(self, signers: str) -> None:
        super().__init__(f"the attestation is signed by {signers}, which is not trusted here")
        self.signers = signers


@dataclass(frozen=True, slots=True)
class Build:
    """What an attestation says. Times are RFC 3339; `isolation` names what the build was kept in, by mechanism."""

    module: str
    version: str
    source: Digest
    built: Digest
    command: tuple[str, ...]
    output: str
    publisher_signature: str
    publisher_key: str
    builder: str
    invocation: str
    started: str
    finished: str
    isolation: Mapping[str, str]


def seal(build: Build, key: PrivateKey) -> str:
    """The signed attestation: the same text every time for the same build and an Ed25519 key."""
    payload = _json(_statement(build))
    signature = sign_message(key, _authenticated(PAYLOAD_TYPE, payload))
    envelope = {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return _json(envelope).decode("utf-8")


def opened(text: str, trusted: Mapping[str, PublicKey]) -> Build:
    """What a sealed attestation says, if one of the `trusted` keys (by key id) signed it.

    Raises AttestationInvalid, BuilderUnknown when it is signed by none of them.
    """
    if len(text) > LARGEST:
        raise AttestationInvalid(f"an attestation has at most {LARGEST} characters, this one has {len(text)}")
    envelope = _object(_parsed(text), "the attestation")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise AttestationInvalid(
            f"the attestation is no in-toto statement, but {str(envelope.get('payloadType'))[:80]!r}"
        )
    payload = _base64(envelope.get("payload"), "the payload")
    _verify(envelope.get("signatures"), _authenticated(PAYLOAD_TYPE, payload), trusted)
    return _build(_object(_parsed(payload), "the statement"))


def check(build: Build, *, module: str, version: str, source: str, built: str) -> None:
    """Whether a build is the one that a command is about. Raises AttestationInvalid, which names what differs."""
    wanted = {"module": module, "version": version, "source": source, "built artifact": built}
    found = {
        "module": build.module,
        "version": build.version,
        "source": str(build.source),
        "built artifact": str(build.built),
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise AttestationInvalid(f"the attestation is of another {name}: {found[name]}, not {value}")


def _statement(build: Build) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"{build.module}-{build.version}.tar.gz", "digest": {"sha256": build.built.hex}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "module": build.module,
                    "version": build.version,
                    "command": list(build.command),
                    "output": build.output,
                    "publisherSignature": build.publisher_signature,
                    "publisherKeyId": build.publisher_key,
                },
                "internalParameters": {"isolation": dict(build.isolation)},
                "resolvedDependencies": [{"name": "source", "digest": {"sha256": build.source.hex}}],
            },
            "runDetails": {
                "builder": {"id": build.builder},
                "metadata": {
                    "invocationId": build.invocation,
                    "startedOn": build.started,
                    "finishedOn": build.finished,
                },
            },
        },
    }


def _build(statement: dict[str, Any]) -> Build:
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise AttestationInvalid("the attestation holds no provenance of a build")
    try:
        definition = statement["predicate"]["buildDefinition"]
        details = statement["predicate"]["runDetails"]
        if definition["buildType"] != BUILD_TYPE:
            raise AttestationInvalid(f"the attestation is of a build of another kind: {definition['buildType']}")
        given = definition["externalParameters"]
        (subject,) = statement["subject"]
        (source,) = definition["resolvedDependencies"]
        return Build(
            module=_text(given["module"]),
            version=_text(given["version"]),
            source=Digest.parse(f"sha256:{source['digest']['sha256']}"),
            built=Digest.parse(f"sha256:{subject['digest']['sha256']}"),
            command=tuple(_text(word) for word in given["command"]),
            output=_text(given["output"]),
            publisher_signature=_text(given["publisherSignature"]),
            publisher_key=_text(given["publisherKeyId"]),
            builder=_text(details["builder"]["id"]),
            invocation=_text(details["metadata"]["invocationId"]),
            started=_text(details["metadata"]["startedOn"]),
            finished=_text(details["metadata"]["finishedOn"]),
            isolation={_text(name): _text(how) for name, how in definition["internalParameters"]["isolation"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, DigestInvalid) as error:
        if isinstance(error, AttestationInvalid):
            raise
        raise AttestationInvalid(f"the attestation is not as ours are: {type(error).__name__}: {error}") from error


def _authenticated(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed is the type, too."""
    kind = payload_type.encode("utf-8")
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))


def _verify(signatures: object, message: bytes, trusted: Mapping[str, PublicKey]) -> None:
    if not isinstance(signatures, list) or not signatures or len(signatures) > _MOST_SIGNATURES:
        raise AttestationInvalid("the attestation is not signed")
    named = []
    for each in signatures:
        entry = _object(each, "a signature")
        identifier = entry.get("keyid")
        key = trusted.get(identifier) if isinstance(identifier, str) else None
        named.append(str(identifier)[:32])
        if key is None:
            continue
        try:
            return verify_message(key, message, _base64(entry.get("sig"), "the signature"))
        except (InvalidSignature, SignatureInvalid) as error:
            raise AttestationInvalid(f"the attestation is not what key {identifier} signed") from error
    raise BuilderUnknown(", ".join(named))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _parsed(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AttestationInvalid("the attestation is no JSON") from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AttestationInvalid(f"{what} is no JSON object")
    return value


def _base64(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise AttestationInvalid(f"{what} is missing")
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise AttestationInvalid(f"{what} is not base64") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:80]!r} is no text")
    return value
