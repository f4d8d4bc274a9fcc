"""What the store need not keep goes, and nothing else: also against submissions and publications at the same moment."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from app.domain.errors import Conflict
from app.infrastructure.artifacts import ArtifactStore
from app.orchestrator import collecting, deployments
from app.orchestrator.deployments import Submission
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, DEPLOY, SCAN, TEST, Works


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 1)
    return Works(lab, tmp_path)


@pytest.fixture
def store(lab: Lab) -> ArtifactStore:
    return ArtifactStore(lab.orchestrator.settings.artifacts_dir)


def age(store: ArtifactStore, digest: str, seconds: float = 2 * collecting.YOUNG) -> None:
    then = time.time() - seconds
    os.utime(store.path(digest), (then, then))


def clear(lab: Lab) -> int:
    return sum(collecting.clear_shelf(lab.orchestrator, shelf) for shelf in range(collecting.SHELVES))


def keep(store: ArtifactStore, content: bytes, digest: str) -> None:
    with store.incoming() as file:
        file.write(content)
        store.keep(file, digest)


def digest_of(number: int) -> str:
    return f"sha256:{number:064x}"


def roll_out(works: Works, version: str, *kinds: object) -> None:
    deployment = works.lab.submit(version)
    for kind in kinds or (SCAN,):
        works.execute(deployment, kind)  # type: ignore[arg-type]
    works.lab.hear(*(row[0] for row in works.lab.sql("select id from nodes")))
    works.lab.pass_stage(deployment, DEPLOY)
    works.lab.finish(deployment)


def test_only_old_files_that_no_row_names_go(works: Works, store: ArtifactStore) -> None:
    source = works.publish(test="true")
    deployment = works.lab.submit("1.0.0")
    for kind in (SCAN, BUILD):
        works.execute(deployment, kind)
    (tree,) = works.lab.sql("select tree_digest from built_artifacts")[0]
    built = works.digest(deployment)
    keep(store, b"garbage", digest_of(1))
    keep(store, b"just stored", digest_of(2))
    for digest in (source, built, tree, digest_of(1)):
        age(store, digest)
    assert clear(works.lab) == 1
    assert not store.path(digest_of(1)).exists()
    works.execute(deployment, TEST)
    assert clear(works.lab) == 1, "a tree whose tests have passed has served its purpose"
    assert not store.path(tree).exists()
    assert all(store.path(digest).exists() for digest in (source, built, digest_of(2)))


def test_the_tree_of_a_retired_release_goes_although_its_tests_never_passed(works: Works, store: ArtifactStore) -> None:
    works.publish(test="true")
    works.execute(works.lab.submit("1.0.0"), BUILD)
    (tree,) = works.lab.sql("select tree_digest from built_artifacts")[0]
    age(store, tree)
    assert clear(works.lab) == 0
    works.lab.sql("update releases set retired_at = hotswap_now()")
    assert clear(works.lab) == 1
    assert not store.path(tree).exists()


def test_a_tick_tidies_what_killed_processes_left_in_the_store(lab: Lab, store: ArtifactStore) -> None:
    store.prepare()
    keep(store, b"needed", digest_of(1))
    store.path(digest_of(1)).rename(store.path(digest_of(1)).parents[2] / f"incoming/discard-{1:064x}-ab")
    left = store.path(digest_of(1)).parents[2] / "incoming/upload-left"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert collecting.collect(lab.orchestrator) == 1
    assert store.path(digest_of(1)).exists()
    assert not left.exists()


def test_bytes_that_are_stored_again_while_they_are_cleared_stay(store: ArtifactStore, lab: Lab) -> None:
    store.prepare()

    def publish_again() -> None:
        for number in range(200):
            keep(store, b"x", digest_of(number))

    for number in range(200):
        keep(store, b"x", digest_of(number))
        age(store, digest_of(number))
    thread = threading.Thread(target=publish_again)
    thread.start()
    for number in range(200):
        store.discard(digest_of(number), collecting.YOUNG)
    thread.join()
    # What was taken aside in that moment is back by now.
    assert [number for number in range(200) if not store.path(digest_of(number)).exists()] == []


def retire(lab: Lab, kept: int) -> int:
    settings = lab.orchestrator.settings.model_copy(update={"releases_kept": kept})
    orchestrator = lab.orchestrator.__class__(lab.orchestrator.database, settings, lab.orchestrator.publisher)
    return collecting.retire(orchestrator)


def retired(lab: Lab) -> set[str]:
    return {row[0] for row in lab.sql("select version from releases where retired_at is not null")}


def test_what_runs_and_what_would_be_gone_back_to_is_never_retired(works: Works, store: ArtifactStore) -> None:
    digests = {version: works.publish(version, build=None) for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")}
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        roll_out(works, version)
    assert retire(works.lab, kept=0) == 0, "0 keeps all"
    assert retire(works.lab, kept=1) == 2
    assert retired(works.lab) == {"1.0.0", "1.3.0"}
    for digest in digests.values():
        age(store, digest)
    assert clear(works.lab) == 2
    with pytest.raises(Conflict, match=r"1\.0\.0 was retired on"):
        works.lab.submit("1.0.0")
    roll_out(works, "1.4.0")
    assert retire(works.lab, kept=1) == 1
    assert retired(works.lab) == {"1.0.0", "1.1.0", "1.3.0"}


def test_many_that_are_in_use_do_not_starve_the_rest(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_MOST_RETIRED", 1)
    for number in range(5):
        works.publish(f"1.{number}.0", build=None)
    for number in (1, 2, 3):
        works.lab.submit(f"1.{number}.0")
    deadline = time.monotonic() + 60
    while not retired(works.lab):
        assert time.monotonic() < deadline
        retire(works.lab, kept=1)
    assert retired(works.lab) == {"1.0.0"}


def test_a_release_that_is_just_being_submitted_is_not_retired(works: Works) -> None:
    for version in ("1.0.0", "1.1.0"):
        works.publish(version, build=None)
    lab = works.lab
    with lab.orchestrator.database.raw() as connection:
        # A submission that has read its release, and has not committed.
        deployments.draft_of(connection, lab.requester, Submission("greeter", "1.0.0", "QA"), "t")
        assert retire(lab, kept=1) == 0
    assert retire(lab, kept=1) == 1


def test_a_release_with_a_deployment_under_way_is_not_retired(works: Works) -> None:
    for version in ("1.0.0", "1.1.0"):
        works.publish(version, build=None)
    works.lab.submit("1.0.0")
    assert retire(works.lab, kept=1) == 0
