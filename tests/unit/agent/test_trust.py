"""Whom a node believes: publishers for what they sign, builders for what they built of it, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent import attestations
from agent.attestations import Build
from agent.failures import FailureCode, OperationFailed
from agent.protocol import Target, parse_command
from agent.refusals import Refusal
from agent.signatures import Digest, PrivateKey, generate, key_id, public_pem, sign
from agent.trust import Trust, TrustedKeys

PUBLISHER, BUILDER = generate(), generate()
SOURCE, BUILT = Digest.of_bytes(b"source"), Digest.of_bytes(b"built")
BUILD = Build(
    module="web-app", version="1.0.0", source=SOURCE, built=BUILT, command=("make",), output="dist",
    publisher_signature=sign(PUBLISHER, SOURCE), publisher_key=key_id(PUBLISHER.public_key()), builder="urn:b",
    invocation="1", started="2026-11-24T09:00:00Z", finished="2026-11-24T09:00:05Z", isolation={"network": "namespace"},
)  # fmt: skip


def keys(folder: Path, *trusted: PrivateKey) -> TrustedKeys:
    folder.mkdir()
    for number, key in enumerate(trusted):
        (folder / f"{number}.pub").write_bytes(public_pem(key.public_key()))
    return TrustedKeys(folder)


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(keys(tmp_path / "publishers", PUBLISHER), keys(tmp_path / "builders", BUILDER))


def target(digest: Digest = SOURCE, **changes: object) -> Target:
    plain = Target(str(digest), "1.0.0", 10, sign(PUBLISHER, SOURCE), key_id(PUBLISHER.public_key()))
    return replace(plain, **changes)  # type: ignore[arg-type]


def built(build: Build = BUILD, key: PrivateKey = BUILDER, **changes: object) -> Target:
    return target(BUILT, **({"source_digest": str(SOURCE), "attestation": attestations.seal(build, key)} | changes))


def refused(trust: Trust, wanted: Target, module: str = "web-app") -> str:
    with pytest.raises(OperationFailed) as failure:
        trust.verify(wanted, module)
    assert failure.value.code is FailureCode.VERIFICATION_FAILED
    return failure.value.message


def test_what_a_publisher_signed_and_what_was_built_of_it_may_run(trust: Trust) -> None:
    trust.verify(target(), "web-app")
    trust.verify(built(), "web-app")


def test_other_bytes_another_signer_another_source(trust: Trust) -> None:
    other = Digest.of_bytes(b"other")
    assert "is not one of key" in refused(trust, target(other))
    assert "another built artifact" in refused(trust, replace(built(), digest=str(other)))
    assert "does not trust" in refused(trust, built(key=PUBLISHER))
    assert "another source" in refused(trust, built(replace(BUILD, source=other)))
    assert "another module" in refused(trust, built(), module="web-else")
    assert "another version" in refused(trust, built(replace(BUILD, version="1.0.1")))
    assert "is not one of key" in refused(trust, built(source_digest=str(other)))
    assert "no JSON" in refused(trust, built(attestation="yes, really"))


def test_a_node_without_builders_runs_nothing_that_was_built(tmp_path: Path) -> None:
    nobody = Trust(keys(tmp_path / "publishers", PUBLISHER), TrustedKeys(None))
    nobody.verify(target(), "web-app")
    assert "does not trust" in refused(nobody, built())


def body(**changes: object) -> dict[str, object]:
    plain = {"digest": str(BUILT), "version": "1.0.0", "sizeBytes": 10, "signature": "c2ln", "keyId": "0" * 16}
    return {
        "tenant": "0190a0b0-0000-7000-8000-000000000000", "module": "web-app", "fencingToken": 1, "action": "activate",
        "target": plain | changes,
    }  # fmt: skip


def test_source_and_attestation_come_together() -> None:
    command = parse_command("op-1", body(sourceDigest=str(SOURCE), attestation="sealed" * 1000))
    assert command.target is not None
    assert (command.target.source_digest, command.target.attestation) == (str(SOURCE), "sealed" * 1000)
    assert command.content() != parse_command("op-1", body(sourceDigest=str(SOURCE), attestation="else")).content()
    alone = ({"sourceDigest": str(SOURCE)}, {"attestation": "sealed"})
    for changes in (*alone, {"sourceDigest": "x", "attestation": "y"}):
        with pytest.raises(Refusal):
            parse_command("op-1", body(**changes))
