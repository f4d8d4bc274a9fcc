"""Going back and retirement: what is to run again is kept, or refused before anything changes. How one comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.archive.packing import pack_bytes
from agent.signatures import Digest, key_id, sign
from app.domain.deployment import DeploymentStatus
from app.domain.errors import Conflict
from app.infrastructure.artifacts import ArtifactStore
from app.orchestrator import collecting, deployments, releases, submitting, succession
from app.orchestrator.releases import Published, Upload
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, DEPLOY, SCAN, TEST, Works
from tests.integration.engine.test_collecting import age, clear, retire, retired


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 3)
    return Works(lab, tmp_path)


@pytest.fixture
def store(lab: Lab) -> ArtifactStore:
    return ArtifactStore(lab.orchestrator.settings.artifacts_dir)


def run(works: Works, version: str, *kinds: Any) -> UUID:
    deployment = works.lab.submit(version)
    for kind in kinds or (SCAN,):
        if kind is SCAN:  # which takes long, and has tests of its own
            works.lab.pass_stage(deployment, kind)
        else:
            works.execute(deployment, kind)
    works.lab.hear(*(row[0] for row in works.lab.sql("select id from nodes")))
    works.lab.pass_stage(deployment, DEPLOY)
    works.lab.finish(deployment)
    assert works.lab.status(deployment) is DeploymentStatus.SUCCEEDED
    return deployment


def roll_back(lab: Lab, deployment: UUID) -> UUID:
    return succession.rollback(lab.orchestrator, lab.requester, deployment, preempt=False, trace_id="t").rollback_id


def publish_again(works: Works, version: str) -> Published:
    """The same archive, as a publisher sends it."""
    archive = pack_bytes(works.folder / f"source-{version}")
    signature = sign(works.publisher, Digest.of_bytes(archive))
    store = ArtifactStore(works.lab.orchestrator.settings.artifacts_dir)
    with store.incoming() as file:
        file.write(archive)
        upload = Upload(file, signature, key_id(works.publisher.public_key()))
        return releases.publish(works.lab.orchestrator, works.lab.requester, "greeter", upload)


def test_a_rollback_to_what_is_retired_is_refused_and_begins_nothing(works: Works) -> None:
    lab = works.lab
    versions = ("1.0.0", "1.1.0", "1.2.0")
    for version in versions:
        works.publish(version, build=None)
    ran = {version: run(works, version) for version in versions}
    assert retire(lab, kept=1) == 1
    with pytest.raises(Conflict, match=rf"greeter 1\.0\.0 \(retired on {datetime.now(UTC):%Y}-.*Publish the same"):
        roll_back(lab, ran["1.1.0"])
    assert lab.sql("select count(*) from deployments") == [(len(versions),)]
    assert publish_again(works, "1.0.0").retired_at is None
    back = roll_back(lab, ran["1.1.0"])
    lab.pass_stage(back, DEPLOY)
    lab.finish(back)
    assert set(lab.desired().values()) == {"1.0.0"}


def test_what_any_node_is_to_get_by_a_rollback_is_not_retired(works: Works) -> None:
    lab = works.lab
    versions = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    digests = {version: works.publish(version, build=None) for version in versions}
    run(works, "1.1.0")
    mixed = run(works, "1.2.0")
    # As after a rollout that left one node behind.
    lab.sql(
        "update node_operations set before_version = '1.0.0', before_digest = %s where id ="
        " (select id from node_operations where deployment_id = %s order by position limit 1)",
        digests["1.0.0"],
        mixed,
    )
    for version in ("1.3.0", "1.4.0"):
        run(works, version)
    back = roll_back(lab, mixed)
    assert retire(lab, kept=1) == 1
    assert retired(lab) == {"1.2.0"}, "two nodes are to get 1.1.0, one 1.0.0"
    deployments.cancel(lab.orchestrator, lab.requester, back, rollback=True)
    assert retire(lab, kept=1) == 2
    with pytest.raises(Conflict, match=r"greeter 1\.0\.0 \(retired on .*, greeter 1\.1\.0 \(retired on"):
        succession.retry(lab.orchestrator, lab.requester, back, trace_id="t")


def test_a_rollback_that_is_just_being_submitted_holds_what_it_needs(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = works.lab
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        works.publish(version, build=None)
    ran = {version: run(works, version) for version in ("1.0.0", "1.1.0", "1.2.0")}
    insert, counts = submitting.insert, []

    def meanwhile(*arguments: Any) -> Any:
        counts.append(retire(lab, kept=1))
        inserted = insert(*arguments)
        counts.append(retire(lab, kept=1))
        return inserted

    monkeypatch.setattr(submitting, "insert", meanwhile)
    roll_back(lab, ran["1.1.0"])
    assert [*counts, retire(lab, kept=1)] == [0, 0, 0]


def test_a_retired_release_that_is_published_again_is_back(works: Works, store: ArtifactStore) -> None:
    lab = works.lab
    source = works.publish("1.0.0", test="true")
    run(works, "1.0.0", SCAN, BUILD, TEST, SCAN)
    (built,) = lab.sql("select digest from built_artifacts")[0]
    for version in ("1.1.0", "1.2.0"):
        works.publish(version, build=None)
        run(works, version)
    assert retire(lab, kept=1) == 1
    age(store, source)
    age(store, built)
    assert clear(lab) == 2
    shown = releases.release(lab.orchestrator, lab.requester, "greeter", "1.0.0")
    assert shown.retired_at is not None

    again = publish_again(works, "1.0.0")
    assert (again.created, again.retired_at, again.digest) == (False, None, source)
    assert store.path(source).exists()
    assert retire(lab, kept=1) == 0, "nobody can deploy what is retired again at once"
    lab.sql("update releases set renewed_at = renewed_at - interval '2 days'")
    assert retire(lab, kept=1) == 1
    publish_again(works, "1.0.0")
    # What was built of it is gone: it is built and tested anew.
    run(works, "1.0.0", SCAN, BUILD, TEST, SCAN)
    assert lab.sql("select count(*) from built_artifacts") == lab.sql("select count(*) from passed_tests") == [(1,)]


def test_what_was_built_of_one_that_is_back_counts_while_its_bytes_are_there(
    works: Works, store: ArtifactStore
) -> None:
    lab = works.lab
    works.publish("1.0.0", test="true")
    run(works, "1.0.0", SCAN, BUILD, TEST, SCAN)
    before = lab.sql("select digest, built_at from built_artifacts")
    for version in ("1.1.0", "1.2.0"):
        works.publish(version, build=None)
        run(works, version)
    assert retire(lab, kept=1) == 1
    age(store, before[0][0])
    publish_again(works, "1.0.0")
    assert not store.discard(before[0][0], collecting.YOUNG), "by a tick that saw it retired a moment ago"
    assert clear(lab) == 0
    assert lab.sql("select digest, built_at from built_artifacts") == before
    deployment = lab.submit("1.0.0")
    assert [works.stage(deployment, kind)["status"] for kind in (BUILD, TEST)] == ["Skipped"] * 2


def test_a_rollback_to_what_was_built_anew_since_is_refused(works: Works, store: ArtifactStore) -> None:
    lab = works.lab
    works.publish("1.0.0", build="mkdir dist && head -c 32 /dev/urandom > dist/random")
    run(works, "1.0.0", SCAN, BUILD, SCAN)
    (built,) = lab.sql("select digest from built_artifacts")[0]
    for version in ("1.1.0", "1.2.0"):
        works.publish(version, build=None)
    later = run(works, "1.1.0")
    run(works, "1.2.0")
    assert retire(lab, kept=1) == 1
    age(store, built)
    assert clear(lab) == 1
    publish_again(works, "1.0.0")
    run(works, "1.0.0", SCAN, BUILD, SCAN)
    with pytest.raises(Conflict, match=r"not there any more as it was: greeter 1\.0\.0"):
        roll_back(lab, later)
