"""A node runs what was built only when a builder that it trusts attested it, of a source that a publisher signed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent import attestations
from agent.attestations import Build
from agent.signatures import Digest, PrivateKey, generate, key_id, public_pem, sign
from tests.integration.agent.bench import KEY, Bench, asynchronous, bench
from tests.integration.agent.releases import Release, website

BUILDER = generate()
SOURCE = Digest.of_bytes(b"the source, which the node never sees")


@dataclass(frozen=True, slots=True)
class BuiltRelease(Release):
    """What Build made: the publisher signed its source, and not these bytes."""

    source_digest: str
    attestation: str

    def target(self) -> dict[str, object]:
        return {**Release.target(self), "sourceDigest": self.source_digest, "attestation": self.attestation}


def built(version: str, *, builder: PrivateKey = BUILDER, source: Digest = SOURCE, of: str = "") -> BuiltRelease:
    """Attested by `builder`, as made of `source`; the command names SOURCE. `of` is another content to attest."""
    made = website(version, KEY)
    attested = website(version, KEY, files={"index.html": of}) if of else made
    publisher = key_id(KEY.public_key())
    build = Build(
        module=made.name, version=version, source=source, built=Digest.parse(attested.digest), command=("make",),
        output="dist", publisher_signature=sign(KEY, SOURCE), publisher_key=publisher, builder="urn:hotswap:builder:1",
        invocation="1", started="2026-11-24T09:00:00Z", finished="2026-11-24T09:00:05Z", isolation={"network": "none"},
    )  # fmt: skip
    return BuiltRelease(
        made.name, version, made.archive, made.digest, sign(KEY, SOURCE), publisher, str(SOURCE),
        attestations.seal(build, builder),
    )  # fmt: skip


def trusting(folder: Path) -> str:
    """The lines of a node's configuration."""
    builders = folder / "builders"
    builders.mkdir()
    (builders / "builder.pub").write_bytes(public_pem(BUILDER.public_key()))
    return f'attestation_keys = "{builders}"\n'


async def outcome(at: Bench, release: Release, token: int) -> tuple[str, str]:
    at.orchestrator.serve(release)
    ended = await at.orchestrator.do("qa-1", release, token)
    return str(ended["state"]), str((ended.get("error") or {}).get("message", ""))


@asynchronous
async def test_what_is_attested_runs_and_goes_back(tmp_path: Path) -> None:
    async with bench(tmp_path, trusting(tmp_path)) as at:
        first, second = built("1.0.0"), built("1.1.0")
        at.orchestrator.serve(first)
        assert await outcome(at, first, 5) == ("succeeded", "")
        at.orchestrator.serve(second)
        ended = await at.orchestrator.do("qa-1", second, 6, expectedActive=first.digest)
        assert ended["state"] == "succeeded"
        ended = await at.orchestrator.do("qa-1", first, 7, expectedActive=second.digest)
        assert (ended["state"], ended["activeDigest"]) == ("succeeded", first.digest)


@pytest.mark.parametrize(
    ("release", "complaint"),
    [
        (lambda: built("1.0.0", of="other"), "another built artifact"),
        (lambda: built("1.0.0", builder=generate()), "which this node does not trust"),
        (lambda: built("1.0.0", source=Digest.of_bytes(b"other")), "another source"),
        (lambda: replace(built("1.0.0"), attestation="{}"), "the attestation"),
    ],
    ids=["other bytes", "another signer", "another source", "no attestation"],
)
def test_anything_else_is_refused_before_a_byte_of_it_is_unpacked(
    tmp_path: Path, release: object, complaint: str
) -> None:
    @asynchronous
    async def refused() -> None:
        async with bench(tmp_path, trusting(tmp_path)) as at:
            state, message = await outcome(at, release(), 5)  # type: ignore[operator]
            assert state == "failed"
            assert complaint in message
            assert not list(at.node.data.rglob("index.html"))

    refused()


@asynchronous
async def test_the_bytes_must_be_those_of_the_digest(tmp_path: Path) -> None:
    async with bench(tmp_path, trusting(tmp_path)) as at:
        release = built("1.0.0")
        other = website("1.0.0", KEY, files={"index.html": "other"})
        at.orchestrator.serve(replace(release, archive=other.archive))
        ended = await at.orchestrator.do("qa-1", release, 5)
        assert ended["state"] == "failed"
        assert not list(at.node.data.rglob("index.html"))
