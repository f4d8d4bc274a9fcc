"""Builds that mean harm, as a deployment meets them: what is said, how it ends, and that nothing of them is left.

What the sandbox holds against them, in each isolation, is tested in tests/integration/sandbox."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.domain.deployment import DeploymentStatus
from app.orchestrator.context import Orchestrator
from tests.integration.engine.conftest import Lab
from tests.integration.engine.sources import BUILD, Works

MIB = 1024 * 1024
MARK = "hotswap-hostile-build"


@pytest.fixture
def works(lab: Lab, tmp_path: Path) -> Works:
    """One with narrow limits."""
    lab.nodes(lab.environment(), 1)
    ours = lab.orchestrator
    narrow = {
        "build_timeout": 6.0,
        "build_memory": 256 * MIB,
        "build_disk": 64 * MIB,
        "build_files": 2000,
        "build_processes": 40,
    }
    lab.orchestrator = Orchestrator(ours.database, ours.settings.model_copy(update=narrow), ours.publisher)
    return Works(lab, tmp_path)


def processes_named(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if mark in command and int(folder.name) != os.getpid():
            found.append(command)
    return found


ALLOCATE = "python3 -c 'x = []\nwhile True: x.append(bytearray(16 << 20))'"
FORKS = (
    "python3 -c 'import os, time\nwhile True:\n  try: os.fork() or time.sleep(60)\n  except OSError: time.sleep(0.01)'"
)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        ("mkdir dist; head -c 500M /dev/zero > dist/zeros", "disk|size of one file|exit code"),
        (f"{ALLOCATE}", "memory|exit code|SIGKILL"),
        (f"{FORKS} {MARK}", "wall time|processes"),
        ("trap '' TERM INT HUP; while :; do sleep 1; done", "wall time"),
        ("kill -STOP $$", "wall time"),
        ("mkdir dist; cd dist; i=0; while :; do : > f$i; i=$((i+1)); done", "number of files"),
        ("while :; do mkdir d; cd d; done", "depth of folders|number of files|exit code"),
        (f"(setsid nohup sh -c 'sleep 600; : {MARK}' > /dev/null 2>&1 &); exit 7", "exit code 7"),
        ("while :; do :; done", "wall time|CPU time"),
    ],
    ids=["disk", "memory", "forks", "ignores signals", "stops itself", "files", "depth", "outlives", "spins"],
)
def test_it_ends_with_a_word_for_it_and_leaves_nothing(works: Works, build: str, told: str) -> None:
    works.publish(build=build)
    deployment = works.lab.submit("1.0.0")
    began = time.monotonic()
    works.execute(deployment, BUILD)
    stage = works.stage(deployment, BUILD)
    assert stage["status"] == "Failed"
    assert any(word in stage["message"] for word in told.split("|")), stage["message"]
    assert works.lab.status(deployment) is DeploymentStatus.FAILED
    assert works.left_behind() == []
    assert processes_named(MARK) == []
    assert time.monotonic() - began < 90


def test_a_gigabyte_without_a_newline_leaves_a_bounded_log(works: Works) -> None:
    works.publish(build="head -c 1000000000 /dev/zero | tr '\\0' 'x'; exit 1")
    deployment = works.lab.submit("1.0.0")
    works.execute(deployment, BUILD)
    assert works.stage(deployment, BUILD)["status"] == "Failed"
    stored = works.lab.sql("select sum(octet_length(content)) from stage_log_pieces")[0][0]
    assert stored < 3 * MIB


def test_it_finds_nothing_of_ours(works: Works) -> None:
    """Neither our environment, nor our files, nor the database's or the broker's sockets, nor a metadata service."""
    os.environ["HOTSWAP_PLANTED_SECRET"] = "planted-in-the-environment"
    secret = works.folder / "secret"
    secret.write_text("planted-in-a-file")
    secret.chmod(0o600)
    port = works.lab.orchestrator.settings.sqlalchemy_url.rpartition(":")[2].partition("/")[0]
    probe = f"""
env; cat {secret}; for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $f; done 2>/dev/null
python3 - <<'PY'
import socket
for address in (("127.0.0.1", {port}), ("169.254.169.254", 80)):
    try:
        socket.create_connection(address, 2)
        print("reached", address)
    except OSError as error:
        print("not reached", error)
PY
exit 1
"""
    try:
        works.publish(build=probe)
        deployment = works.lab.submit("1.0.0")
        works.execute(deployment, BUILD)
    finally:
        del os.environ["HOTSWAP_PLANTED_SECRET"]
    log = "".join(row[0] for row in works.lab.sql("select content from stage_log_pieces order by seq"))
    assert "HOTSWAP_MODULE=greeter" in log, "it ran, and has what it should have"
    assert "planted-in" not in log
    assert "\nreached" not in log
    assert log.count("not reached") == 2
