"""Attestations: what is sealed can be opened by who trusts the key, and nothing else can."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attestations import PAYLOAD_TYPE, AttestationInvalid, Build, check, opened, seal
from agent.signatures import Digest, generate, key_id, sign_message

KEY = generate()
TRUSTED = {key_id(KEY.public_key()): KEY.public_key()}
BUILD = Build(
    module="payment-processor",
    version="2.1.0",
    source=Digest.of_bytes(b"source"),
    built=Digest.of_bytes(b"built"),
    command=("make", "build"),
    output="dist",
    publisher_signature="c2ln",
    publisher_key="0123456789abcdef",
    builder="urn:hotswap:builder:local",
    invocation="0190a0b0-0000-7000-8000-000000000000",
    started="2026-11-24T09:00:00Z",
    finished="2026-11-24T09:00:05Z",
    isolation={"network": "namespace", "user": "nobody"},
)
words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.builds(
        Build, words, words, st.binary().map(Digest.of_bytes), st.binary().map(Digest.of_bytes),
        st.lists(words, max_size=4).map(tuple), words, words, words, words, words, words, words,
        st.dictionaries(words, words, max_size=4),
    )
)  # fmt: skip
def test_what_is_sealed_is_opened_again(build: Build) -> None:
    assert opened(seal(build, KEY), TRUSTED) == build


def test_the_same_build_is_sealed_alike() -> None:
    assert seal(BUILD, KEY) == seal(dataclasses.replace(BUILD), KEY)


def test_what_is_signed_is_the_encoding_of_the_specification() -> None:
    envelope = json.loads(seal(BUILD, KEY))
    payload = base64.b64decode(envelope["payload"])
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), message)
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"


@given(st.data())
def test_no_changed_byte_is_believed(data: st.DataObject) -> None:
    envelope = json.loads(seal(BUILD, KEY))
    payload = bytearray(base64.b64decode(envelope["payload"]))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    envelope["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(AttestationInvalid, match="is not what key"):
        opened(json.dumps(envelope), TRUSTED)


def test_a_stranger_s_key_is_named() -> None:
    stranger = generate()
    with pytest.raises(AttestationInvalid, match=f"signed by {key_id(stranger.public_key())}, which"):
        opened(seal(BUILD, stranger), TRUSTED)


def test_a_stranger_s_signature_under_a_trusted_name_is_refused() -> None:
    envelope = json.loads(seal(BUILD, generate()))
    envelope["signatures"][0]["keyid"] = next(iter(TRUSTED))
    with pytest.raises(AttestationInvalid, match="is not what key"):
        opened(json.dumps(envelope), TRUSTED)


def _signed(statement: Any) -> str:
    """Anything, signed as we sign."""
    payload = json.dumps(statement).encode()
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    signature = {"keyid": next(iter(TRUSTED)), "sig": base64.b64encode(sign_message(KEY, message)).decode()}
    content = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "no in-toto statement"),
        (json.dumps({"payloadType": PAYLOAD_TYPE}), "payload is missing"),
        (json.dumps({"payloadType": PAYLOAD_TYPE, "payload": "!"}), "not base64"),
        (json.dumps({"payloadType": PAYLOAD_TYPE, "payload": "e30="}), "not signed"),
        (json.dumps({"payloadType": PAYLOAD_TYPE, "payload": "e30=", "signatures": [7]}), "no JSON object"),
        ("x" * 300_000, "at most"),
        (_signed({}), "no provenance"),
        (_signed([]), "no JSON object"),
        (_signed({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}),
         "not as ours are"),
    ],
)  # fmt: skip
def test_what_is_no_attestation_is_said_so(text: str, said: str) -> None:
    with pytest.raises(AttestationInvalid, match=said):
        opened(text, TRUSTED)


@pytest.mark.parametrize("member", ["module", "version", "source", "built"])
def test_one_of_something_else_is_named(member: str) -> None:
    wanted = {"module": BUILD.module, "version": BUILD.version, "source": str(BUILD.source), "built": str(BUILD.built)}
    check(BUILD, **wanted)
    with pytest.raises(AttestationInvalid, match="is of another"):
        check(BUILD, **wanted | {member: "other"})
