"""The other kinds of modules: files with hooks, no socket, a port in place of a socket."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from agent.archive import pack_bytes
from tests.e2e.api import Api
from tests.e2e.conftest import ModuleMaker, NameMaker
from tests.e2e.probe_module import publish
from tests.e2e.stack import ROOT, Stack
from tests.e2e.waiting import until


def published(stack: Stack, example: str, name: str, version: str, tmp_path: Path) -> Path:
    """Publish an example under another name and version; the folder it was made of."""
    folder = tmp_path / version
    shutil.copytree(ROOT / "examples" / example, folder)
    manifest = folder / "hotswap.yaml"
    text = manifest.read_text().replace(example, name).replace("version: 1.0.0", f"version: {version}")
    manifest.write_text(text)
    publish(stack.api(), stack.signing_key, name, pack_bytes(folder))
    return folder


def succeeds(api: Api, module: str, version: str, environment: str) -> None:
    ended = api.finished(api.deploy(module, version, environment))
    assert ended["status"] == "Succeeded", (ended, api.operations(ended["executionId"]))


def test_a_site_is_swapped_with_its_hooks_and_keeps_its_uploads(
    stack: Stack, api: Api, new_name: NameMaker, tmp_path: Path
) -> None:
    name = new_name("site")
    nodes = [stack.node(each) for each in api.nodes("Staging")]
    for version in ("1.0.0", "1.1.0"):
        published(stack, "static-site", name, version, tmp_path)
        succeeds(api, name, version, "Staging")
        for node in nodes:
            site = node.folder / "root" / "srv" / name
            assert json.loads((site / "public" / "version.json").read_text())["version"] == version
            if version == "1.0.0":
                (site / "uploads" / "photo").write_text("kept")
            assert (site / "uploads" / "photo").read_text() == "kept"
    for node in nodes:
        record = (node.module(name) / "data" / "releases.txt").read_text().splitlines()
        assert record == ["installed 1.0.0", "started 1.0.0", "stopped 1.0.0", "installed 1.1.0", "started 1.1.0"]
    releases = api.active("Staging", name).values()
    assert {(each["version"], each["status"], each["endpoint"]) for each in releases} == {("1.1.0", "installed", None)}


def test_a_site_whose_validation_fails_is_taken_back(
    stack: Stack, api: Api, new_name: NameMaker, tmp_path: Path
) -> None:
    name = new_name("site")
    folder = published(stack, "static-site", name, "2.0.0", tmp_path)
    succeeds(api, name, "2.0.0", "Development")
    (folder / "hotswap.yaml").write_text((folder / "hotswap.yaml").read_text().replace("2.0.0", "2.1.0"))
    (folder / "public" / "index.html").write_text('<a href="nowhere.html">broken</a>')
    publish(api, stack.signing_key, name, pack_bytes(folder))
    ended = api.finished(api.deploy(name, "2.1.0", "Development"))
    (operation,) = api.operations(ended["executionId"])
    assert ended["status"] == "RolledBack" and "nowhere.html" in operation["outputTail"]
    site = stack.node("development-1").folder / "root" / "srv" / name
    assert json.loads((site / "public" / "version.json").read_text())["version"] == "2.0.0"


def test_a_queue_worker_without_a_socket_loses_no_job(
    stack: Stack, api: Api, new_name: NameMaker, tmp_path: Path
) -> None:
    node, name = stack.node("development-1"), new_name("queue")
    for number, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        published(stack, "queue-worker", name, version, tmp_path)
        succeeds(api, name, version, "Development")
        queue = node.module(name) / "data" / "queue"
        # Renamed into place, as writers of a queue do.
        (queue / f"job-{number}").write_text(json.dumps({"text": "one two three"}))
        (queue / f"job-{number}").rename(queue / "new" / f"job-{number}")
        done = queue / "done" / f"job-{number}"
        until(done.exists, f"{version} does its job")
        assert json.loads(done.read_text())["words"] == 3
    assert api.active("Development", name)["development-1"]["endpoint"] is None


def test_a_module_that_takes_a_port(new_module: ModuleMaker, stack: Stack) -> None:
    module = new_module(handover="port")
    first = module.served("QA")
    endpoints = module.endpoints("QA")
    assert set(module.answers("QA").values()) == {first}
    second = module.served("QA")
    assert module.endpoints("QA") == endpoints and set(module.answers("QA").values()) == {second}
