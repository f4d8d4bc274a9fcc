"""Build and Test against a real PostgreSQL, store and sandbox: once, first outcome wins, nothing left behind."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from uuid6 import uuid7

from agent import attestations
from agent.signatures import key_id
from app.domain.deployment import DeploymentStatus
from app.domain.errors import Unavailable
from app.domain.events import CancelRequested, ClaimEnded
from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.sandbox import runner
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.stage_logs import StageLogWriter, all_pieces
from app.orchestrator import build_output, building, claims, stage_watch
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.node_operations import command
from app.orchestrator.stage_commands import CommandFailed
from app.orchestrator.stage_watch import Abandoned
from deploy.local.postgres import Postgres
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, DEPLOY, SCAN, TEST, Works


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    lab.nodes(lab.environment(), 2)
    return Works(lab, tmp_path)


def eventually(happened: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def log_of(works: Works, deployment: Any, kind: Any = BUILD) -> str:
    with works.lab.orchestrator.database.raw() as connection:
        return "".join(piece.content for piece in all_pieces(connection, works.lab.stage(deployment, kind)))


def names_in(works: Works, digest: str) -> dict[str, tarfile.TarInfo]:
    with ArtifactStore(works.lab.orchestrator.settings.artifacts_dir).open(digest) as archive:
        content = archive.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive_:
        return {entry.name: entry for entry in archive_}


def test_a_release_is_built_and_tested_once_and_later_deployments_use_it(works: Works) -> None:
    source = works.publish(test='test -f dist/server.py && echo "tested"')
    first = works.lab.submit("1.0.0")
    for kind in (SCAN, BUILD, TEST, SCAN):
        works.execute(first, kind)
    assert [works.stage(first, kind)["status"] for kind in (BUILD, SCAN, TEST)] == ["Succeeded"] * 3
    built = works.digest(first)
    assert built != source
    assert set(names_in(works, built)) == {"about", "hotswap.yaml", "server.py"}
    assert "built greeter 1.0.0" in log_of(works, first)
    assert "tested" in log_of(works, first, TEST)
    works.lab.pass_stage(first, DEPLOY)
    works.lab.finish(first)
    assert works.lab.status(first) is DeploymentStatus.SUCCEEDED
    assert {row[0] for row in works.lab.sql("select digest from desired_releases")} == {built}

    works.lab.nodes(works.lab.environment("Staging"), 1, "staging")
    second = works.lab.submit("1.0.0", "Staging")
    for kind in (BUILD, TEST):
        stage = works.stage(second, kind)
        assert stage["status"] == "Skipped"
        assert stage["message"].endswith(f"before, in deployment {first}")
        assert stage["details"] == {"reusedFrom": str(first)}
    assert works.digest(second) == built
    for _step in (1, 2):
        works.execute(second, SCAN)
    works.lab.pass_stage(second, DEPLOY)
    works.lab.finish(second)
    assert works.lab.status(second) is DeploymentStatus.SUCCEEDED
    assert works.left_behind() == []


def test_what_was_built_is_attested_and_a_node_is_sent_all_it_needs_to_check(works: Works) -> None:
    source = works.publish()
    deployment = works.lab.submit("1.0.0")
    for kind in (SCAN, BUILD, SCAN, DEPLOY):
        works.execute(deployment, kind)
    row = works.lab.sql("select digest, attestation, isolation from built_artifacts")[0]
    build = attestations.opened(row[1], {key_id(works.builder.public_key()): works.builder.public_key()})
    attestations.check(build, module="greeter", version="1.0.0", source=source, built=row[0])
    assert build.output == "dist"
    assert build.isolation["network"] == row[2]["network"]
    operation = works.lab.claimable_operations(deployment)[0]
    claimed = claims.claim_operation(works.lab.orchestrator, works.lab.executor, deployment, operation)
    assert claimed is not None
    target = command(claimed)["target"]
    assert (target["digest"], target["sourceDigest"], target["attestation"]) == (row[0], source, row[1])


def test_the_same_source_gives_the_same_digest_twice(works: Works) -> None:
    works.publish(build="mkdir dist && date +%N > /dev/null && cp server.py dist && chmod 0777 dist/server.py")
    digests = []
    for _ in range(2):
        deployment = works.lab.submit("1.0.0")
        works.execute(deployment, BUILD)
        assert works.stage(deployment, BUILD)["status"] == "Succeeded"
        digests.append(works.digest(deployment))
        works.lab.sql("delete from built_artifacts")
    assert digests[0] == digests[1]
    assert names_in(works, digests[0])["server.py"].mode == 0o755


def test_a_build_may_give_back_its_source(works: Works) -> None:
    source = works.publish(build="mkdir dist && cp server.py dist")
    deployment = works.lab.submit("1.0.0")
    for kind in (SCAN, BUILD, SCAN):
        works.execute(deployment, kind)
    assert works.digest(deployment) == source
    works.lab.pass_stage(deployment, DEPLOY)
    works.lab.finish(deployment)
    assert works.lab.status(deployment) is DeploymentStatus.SUCCEEDED
    assert len(works.lab.sql("select 1 from runnable_releases")) == 1


def test_of_two_that_build_at_once_the_first_outcome_counts_for_both(works: Works) -> None:
    works.publish(build="mkdir dist && head -c 32 /dev/urandom > dist/random && sleep 1")
    works.lab.nodes(works.lab.environment("Staging"), 1, "staging")
    both = [works.lab.submit("1.0.0"), works.lab.submit("1.0.0", "Staging")]
    threads = [threading.Thread(target=works.execute, args=(deployment, BUILD)) for deployment in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = works.lab.sql("select digest, deployment_id from built_artifacts")
    assert len(rows) == 1
    assert [works.digest(deployment) for deployment in both] == [rows[0][0]] * 2
    (loser,) = [deployment for deployment in both if deployment != rows[0][1]]
    assert "whose outcome came first" in works.stage(loser, BUILD)["message"]


def test_an_older_attempt_that_wakes_up_leaves_no_bytes_that_count(works: Works) -> None:
    works.publish(build="mkdir dist && head -c 32 /dev/urandom > dist/random")
    deployment = works.lab.submit("1.0.0")
    older = works.claim(deployment, BUILD)
    works.lab.happen(deployment, ClaimEnded(older.stage_id, older.attempt, poison=False, why="it was stopped"))
    works.lab.make_due(deployment)
    newer = works.claim(deployment, BUILD)
    with pytest.raises(Abandoned):
        building.build(works.lab.orchestrator, older)
    assert works.lab.sql("select count(*) from built_artifacts") == [(0,)]
    building.build(works.lab.orchestrator, newer)
    assert works.stage(deployment, BUILD)["status"] == "Succeeded"
    assert "report.refused" not in works.lab.events(deployment)


def test_a_build_that_fails_says_why_and_touches_no_node(works: Works) -> None:
    works.publish(build='echo "no such module: flask" >&2; exit 3')
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    stage = works.stage(deployment, BUILD)
    assert works.lab.status(deployment) is DeploymentStatus.FAILED
    assert "the build ended with exit code 3" in stage["message"]
    assert stage["output_tail"] == "no such module: flask\n"
    assert stage["details"]["isolation"]["network"]
    assert works.lab.operations(deployment) == []
    assert works.left_behind() == []


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        ("true", "the build made no folder 'dist', which its manifest names as output"),
        ("ln -s /etc dist", "the build's output 'dist' is a link"),
        ("echo x > dist", "the build's output 'dist' is no folder"),
        ("mkdir dist && echo 'name: other' > dist/hotswap.yaml", "a hotswap.yaml of its own"),
        ("mkdir dist && ln -s ../server.py dist/hotswap.yaml", "a hotswap.yaml of its own"),
        ("mkdir dist && mkfifo dist/pipe", "'pipe': is neither file, folder nor link"),
        ("mkdir dist && ln -s /etc/passwd dist/out", "absolute path"),
        ("mkdir dist && ln -s ../server.py dist/out", "out"),
        ("mkdir dist && touch \"dist/$(printf 'a\\377')\"", "not UTF-8"),
        ("mkdir dist && cd dist && for n in $(seq 100); do mkdir d && cd d; done", "folders deep"),
        ("mkdir dist && cd dist && for n in $(seq 20010); do echo > $n; done", "more than 20000 entries"),
        ("mkdir dist && head -c 50000000 /dev/zero > dist/zeros", "as bombs do"),
        ("for n in $(seq 20); do truncate -s 1900M $n; done", "its limit of disk was reached"),
        ("mkdir dist && truncate -s 1500M dist/hotswap.yaml", "a hotswap.yaml of its own"),
        ("mkdir -p dist/hotswap.yaml", "a hotswap.yaml of its own"),
    ],
)
def test_what_a_build_may_not_leave_as_its_output(works: Works, build: str, complaint: str) -> None:
    works.publish(build=build)
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    stage = works.stage(deployment, BUILD)
    assert stage["status"] == "Failed"
    assert complaint in stage["message"]
    assert works.lab.sql("select count(*) from built_artifacts") == [(0,)]
    assert works.left_behind() == []


def test_a_manifest_as_large_as_the_disk_is_not_read(works: Works, tmp_path: Path) -> None:
    (tmp_path / "tree/dist").mkdir(parents=True)
    with (tmp_path / "tree/dist/hotswap.yaml").open("wb") as file:
        file.truncate(512 * 1024**2)
    claimed = ClaimedStage(uuid7(), uuid7(), 1, BUILD)
    watch = stage_watch.StageWatch(works.lab.orchestrator, claimed)
    tracemalloc.start()
    try:
        with pytest.raises(CommandFailed, match=r"a hotswap\.yaml of its own"):
            build_output.keep_output(
                works.lab.orchestrator.settings, tmp_path / "tree", "dist", b"name: greeter", watch
            )
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024**2
    finally:
        tracemalloc.stop()


_DEEP = """
import os
for _ in range(60):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
"""


def test_a_tree_that_cannot_be_kept_is_the_builds_failure_at_once(works: Works) -> None:
    """Not a lost attempt, after which it would be built twice more; and no path of ours is told."""
    works.publish(
        build="mkdir dist && python3 deep.py", test="true", files={"deep.py": _DEEP}
    )  # fmt: skip
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    stage = works.stage(deployment, BUILD)
    assert (stage["status"], stage["attempt"]) == ("Failed", 1)
    assert stage["message"] == "the built tree cannot be kept for the tests: File name too long"
    assert works.left_behind() == []


def test_hard_links_reach_the_tests_as_links(works: Works) -> None:
    works.publish(
        build="mkdir dist && head -c 1000000 /dev/urandom > a && for n in $(seq 50); do ln a $n; done",
        test="test a -ef 50 && cmp a 7",
    )
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    (tree,) = works.lab.sql("select tree_digest from built_artifacts")[0]
    assert ArtifactStore(works.lab.orchestrator.settings.artifacts_dir).path(tree).stat().st_size < 2_000_000
    works.execute(deployment, TEST)
    assert works.stage(deployment, TEST)["status"] == "Succeeded"


@pytest.mark.parametrize("step", ["pack the tree", "unpack the tree", "unpack the source"])
@pytest.mark.parametrize("reason", ["cancelled", "stopped", "out of time"])
def test_copying_ends_when_the_stage_is_wanted_no_more(
    works: Works, monkeypatch: pytest.MonkeyPatch, step: str, reason: str
) -> None:
    """It runs outside of the sandbox, on one of very few threads, where no other limit ends it."""
    works.publish(build="mkdir dist && cp server.py dist", test="true")
    deployment = works.lab.submit("1.0.0")
    kind = TEST if step == "unpack the tree" else BUILD
    if kind is TEST:
        works.execute(deployment, BUILD)
    monkeypatch.setattr(stage_watch, "LOOK_EVERY", 0.0)

    def happens() -> None:
        if reason == "cancelled":
            works.lab.happen(deployment, CancelRequested(rollback=True, by="dora"))
        elif reason == "stopped":
            works.lab.orchestrator.stopping.set()
        else:
            monkeypatch.setattr(stage_watch, "STAGE_BUDGET", 0.0)

    def late(copy: Callable[..., Any]) -> Callable[..., Any]:
        def copying(*given: Any, **named: Any) -> Any:
            happens()
            return copy(*given, **named)

        return copying

    name = {"pack the tree": "pack_tree", "unpack the tree": "unpack_tree"}.get(step, "unpack_archive")
    if reason == "out of time":
        happens()
    else:
        monkeypatch.setattr(build_output, name, late(getattr(build_output, name)))
    works.execute(deployment, kind)
    stage = works.stage(deployment, kind)
    match reason:
        case "cancelled":
            assert stage["status"] == "Cancelled"
            assert "report.refused" not in works.lab.events(deployment)
        case "stopped":
            assert (stage["claimable"], stage["losses"]) == (True, 0)
        case _:
            assert stage["status"] == "Failed"
            assert "s are used up" in stage["message"]
    assert works.left_behind() == []


def test_a_full_disk_of_the_store_is_not_the_builds_failure(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.publish(test="true")
    deployment = works.lab.submit("1.0.0")

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArtifactStore, "incoming", lambda _: Full())
    with pytest.raises(Unavailable, match="The artifact store cannot be written: No space left on device"):
        works.execute(deployment, BUILD)
    assert works.stage(deployment, BUILD)["status"] == "Pending"
    assert works.left_behind() == []


def test_where_the_sandbox_cannot_hold_what_is_required_nothing_runs(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that could read the builder's key could attest whatever it likes."""
    weak = Capabilities(seccomp=True)
    monkeypatch.setattr(runner, "available", lambda: weak)
    works.publish()
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    message = works.stage(deployment, BUILD)["message"]
    for part in ("our files cannot be kept from it here", "memory and environment of our processes", "outlives it"):
        assert part in message
    assert "HOTSWAP_SANDBOX_REQUIRE" in message
    assert works.left_behind() == []


def test_tests_run_on_the_built_tree_and_their_report_is_told(works: Works) -> None:
    report = (
        '<testsuite><testcase name="a"/><testcase classname="c" name="b"><failure/></testcase>'
        '<testcase name="s"><skipped/></testcase></testsuite>'
    )
    works.publish(
        build="mkdir -p dist made && cp server.py dist && echo x > made/by-build && ln -s /usr/bin/env made/link",
        test=f"test -L made/link && test -s made/by-build && echo '{report}' > out.xml; exit 1",
        files={"out.xml": "<testsuite><testcase name='stale'/></testsuite>"},
        report="*.xml",
    )
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    works.execute(deployment, TEST)
    stage = works.stage(deployment, TEST)
    assert works.lab.status(deployment) is DeploymentStatus.FAILED
    assert "the tests ended with exit code 1" in stage["message"]
    assert stage["details"]["tests"] == {"total": 3, "passed": 1, "failed": 1, "skipped": 1, "failing": ["c: b"]}
    again = works.lab.submit("1.0.0")
    assert works.stage(again, BUILD)["status"] == "Skipped", "it was built, although its tests failed"
    assert works.stage(again, TEST)["status"] == "Pending"


def test_a_report_with_failures_counts_more_than_an_exit_code_of_0(works: Works) -> None:
    works.publish(build=None, test="echo '<testsuite><testcase name=\"a\"><error/></testcase></testsuite>' > junit.xml")
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, TEST)
    assert "its report has failures; 1 test: 0 passed, 1 failed (failed: a)" in works.stage(deployment, TEST)["message"]


def test_a_hostile_report_is_named_and_harms_nobody(works: Works) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>'
    works.publish(build=None, test=f"mkdir reports; echo '{bomb}' > reports/a.xml; truncate -s 100M reports/b.xml")
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, TEST)
    stage = works.stage(deployment, TEST)
    assert stage["status"] == "Succeeded"
    assert stage["details"]["unreadableReports"] == [
        "reports/a.xml has a document type, which no test report needs",
        "reports/b.xml has more than 32 MiB",
    ]
    told = "; not counted: reports/a.xml has a document type, which no test report needs, and 1 more"
    assert stage["message"].endswith(told)


def test_a_test_that_hangs_is_ended_at_its_timeout(works: Works) -> None:
    works.publish(build=None, test="trap '' TERM; echo waiting; sleep 600", timeout=1)
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, TEST)
    stage = works.stage(deployment, TEST)
    assert "its limit of wall time was reached" in stage["message"]
    assert stage["output_tail"] == "waiting\n"


def test_a_cancelled_build_ends_at_once_and_reports_nothing(works: Works) -> None:
    works.publish(build="echo begun; sleep 600", timeout=600)
    deployment = works.lab.submit("1.0.0")
    thread = threading.Thread(target=works.execute, args=(deployment, BUILD))
    thread.start()
    eventually(lambda: "begun" in log_of(works, deployment))
    works.lab.happen(deployment, CancelRequested(rollback=True, by="dora"))
    thread.join(30)
    assert not thread.is_alive()
    assert works.lab.status(deployment) is DeploymentStatus.CANCELLED
    assert works.stage(deployment, BUILD)["status"] == "Cancelled"
    assert "report.refused" not in works.lab.events(deployment)
    assert works.left_behind() == []


def test_a_worker_that_is_told_to_stop_hands_its_build_back(works: Works) -> None:
    works.publish(build="echo begun; sleep 600", timeout=600)
    deployment = works.lab.submit("1.0.0")
    thread = threading.Thread(target=works.execute, args=(deployment, BUILD))
    thread.start()
    eventually(lambda: "begun" in log_of(works, deployment))
    works.lab.orchestrator.stopping.set()
    thread.join(30)
    assert not thread.is_alive()
    stage = works.stage(deployment, BUILD)
    assert (stage["claimable"], stage["losses"]) == (True, 0)
    assert works.left_behind() == []


def test_the_log_holds_head_and_tail_of_what_is_printed_whatever_it_is(works: Works) -> None:
    works.publish(
        build="echo first; head -c 20000000 /dev/urandom; printf 'caf\\303'; sleep 1; printf '\\251\\n'; exit 1"
    )
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    log = log_of(works, deployment)
    assert log.startswith("first\n")
    assert log.endswith("café\n")
    assert "left out" in log
    assert "\0" not in log
    stored = works.lab.sql("select sum(octet_length(content)) from stage_log_pieces")[0][0]
    assert stored < 8_000_000, "two times a mebibyte, of which each strange byte takes three"


def test_the_end_of_a_log_outlives_a_database_that_is_away(
    works: Works, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away for the first try to write the end, and back for the second."""
    carry, ends = StageLogWriter.carry, 0
    name = works.lab.sql("select current_database()")[0][0]
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as server:

        def counted(self: StageLogWriter, *, to_the_end: bool = False) -> bool:
            nonlocal ends
            ends += to_the_end
            if to_the_end:
                server.execute(f"alter database {name} with allow_connections {ends > 1}")
            if to_the_end and ends == 1:
                server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            return carry(self, to_the_end=to_the_end)

        monkeypatch.setattr(StageLogWriter, "carry", counted)
        works.publish(build="mkdir dist && echo x > dist/x && echo the end")
        deployment = works.lab.submit("1.0.0")
        works.execute(deployment, BUILD)
    assert ends == 2
    assert log_of(works, deployment) == "the end\n"


def test_without_a_builders_key_nothing_is_built(works: Works) -> None:
    works.publish()
    key = works.lab.orchestrator.settings.attestation_key
    assert key is not None
    key.write_text("no key")
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    assert "the key of HOTSWAP_ATTESTATION_KEY cannot be used" in works.stage(deployment, BUILD)["message"]


def test_the_scan_stops_what_was_built_when_its_bytes_or_its_attestation_are_others(works: Works) -> None:
    works.publish()
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, SCAN)
    works.execute(deployment, BUILD)
    store = ArtifactStore(works.lab.orchestrator.settings.artifacts_dir)
    path = store.path(works.digest(deployment))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    works.execute(deployment, SCAN)
    assert works.stage(deployment, SCAN)["status"] == "Failed"
    path.write_bytes(content)
    works.lab.sql("update built_artifacts set attestation = replace(attestation, 'sig', 'gis')")
    again = works.lab.submit("1.0.0")
    works.execute(again, SCAN)
    works.execute(again, SCAN)
    assert "the attestation of what was built does not hold" in works.stage(again, SCAN)["message"]
