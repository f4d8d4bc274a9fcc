"""What the commands send, and what they print of the answers."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.archive import inspect
from agent.signatures import Digest, load_public, verify
from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import DEPLOYMENT, Api, answer, deployment, event, hotswap, problem

QA = {
    "moduleName": "web",
    "environment": "QA",
    "version": "1.1.0",
    "since": "2026-11-24T05:31:00.000Z",
    "deployedBy": "anna",
    "executionId": DEPLOYMENT,
    "previousVersion": "1.0.0",
    "pending": [{"executionId": "x", "version": "1.2.0", "status": "Running"}],
    "drift": [{"hostname": "qa-3"}],
}


def test_deploy_sends_what_was_asked_for_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    assert hotswap("deploy", "web", "1.1.0", "--to", "QA", home=tmp_path, api=api) == 0
    assert hotswap(
        "deploy", "web", "1.1.0", "-t", "QA", "--force", "--require-approval", "--strategy", "direct",
        "--metadata", "ticket=A-1", "--metadata", "empty=", "--idempotency-key", "build-7", home=tmp_path, api=api,
    ) == 0  # fmt: skip
    least = {"moduleName": "web", "version": "1.1.0", "targetEnvironment": "QA"}
    asked = {"force": True, "requireApproval": True, "strategy": "direct", "metadata": {"ticket": "A-1", "empty": ""}}
    assert api.bodies("POST", "/deployments") == [least, {**least, **asked}]
    assert api.requests[1].headers["Idempotency-Key"] == "build-7"
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"Deployment {DEPLOYMENT} accepted (Queued): web 1.1.0 to QA."
    assert f"hotswap deployment watch {DEPLOYMENT}" in err


def test_a_dry_run_shows_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    plan = {
        "moduleName": "web",
        "version": "1.1.0",
        "targetEnvironment": "QA",
        "strategy": "rolling",
        "stages": [
            {"name": "Build", "runs": False, "reason": "nothing asks for it"},
            {"name": "Deploy to QA", "runs": True, "reason": None},
        ],
        "gates": [],
        "waves": [{"wave": 0, "nodes": [{"hostname": "qa-1", "fromVersion": None, "toVersion": "1.1.0"}]}],
        "skipped": [{"hostname": "qa-9", "reason": "not heard from"}],
        "unavailable": ["qa-9"],
        "refusal": None,
        "interrupts": ["handover is none"],
    }
    api.on("POST", "/deployments", answer(plan))
    assert hotswap("deploy", "web", "1.1.0", "--to", "QA", "--dry-run", home=tmp_path, api=api) == 0
    assert api.requests[0].url.params["dryRun"] == "true"
    out = capsys.readouterr().out
    for text in ("nothing asks for it", "wave 1 of 1: nothing -> 1.1.0 on qa-1", "not heard from", "handover is none"):
        assert text in out


def test_rollback_of_what_runs_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/modules/web/environments", answer([QA]))
    path = f"/deployments/{DEPLOYMENT}/rollback"
    api.on("POST", path, answer({"rollbackId": "r-1", "status": "Queued", "nodesAffected": 5}, 202))
    assert hotswap("rollback", "web", "--in", "qa", home=tmp_path, api=api) == 0
    assert hotswap("rollback", "web", "--in", "QA", "--to", "1.0.0", "--preempt", home=tmp_path, api=api) == 0
    assert api.bodies("POST", path) == [{}, {"preempt": True}]
    assert "Rollback r-1 accepted (Queued), 5 nodes affected." in capsys.readouterr().out


def test_rollback_to_an_older_one_deploys_it_again(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", "/modules/web/environments", answer([QA]))
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    assert hotswap("rollback", "web", "--in", "QA", "--to", "0.9.0", home=tmp_path, api=api) == 0
    assert api.bodies("POST", "/deployments")[0]["version"] == "0.9.0"


def test_rollback_where_nothing_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/modules/web/environments", answer([QA]))
    api.on("GET", "/environments/Staging", answer({"name": "Staging"}))
    assert hotswap("rollback", "web", "--in", "Staging", home=tmp_path, api=api) == ExitCode.REFUSED
    assert "does not run in Staging" in capsys.readouterr().err


def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/status", answer([QA]), answer([]))
    assert hotswap("status", home=tmp_path, api=api) == 0
    assert "coming: 1.2.0, drift on 1 node" in capsys.readouterr().out
    assert hotswap("status", home=tmp_path, api=api) == 0
    assert capsys.readouterr().out == "Nothing is deployed.\n"


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("status",), "/status"),
        (("deployment", "list"), "/deployments"),
        (("node", "list"), "/nodes"),
        (("keys", "list"), "/keys"),
        (("release", "list"), "/modules"),
        (("release", "list", "web"), "/modules/web/releases"),
        (("environment", "show"), "/environments"),
        (("cluster", "show"), "/clusters"),
    ],
)
def test_json_is_what_the_api_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], path: str
) -> None:
    value: list[dict[str, Any]] = [{"name": "é", "unknown": {"new": [1, None]}}]
    api = Api()
    api.on("GET", path, answer(value))
    assert hotswap("--output", "json", *command, home=tmp_path, api=api) == 0
    assert json.loads(capsys.readouterr().out) == value
    assert hotswap(*command, "-o", "text", home=tmp_path, api=api, environment={"HOTSWAP_OUTPUT": "json"}) == 0
    assert capsys.readouterr().out


def test_a_failed_deployment_is_shown_with_its_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    raw = deployment("Failed", reason="1 node failed")
    raw["stages"][5] |= {"status": "Failed", "message": "GET / answered 500", "outputTail": "one\ntwo\n"}
    api.on("GET", f"/deployments/{DEPLOYMENT}", answer(raw))
    nodes = [{"hostname": "qa-1", "wave": 0, "status": "Failed", "error": "never healthy", "outputTail": "boom"}]
    api.on("GET", f"/deployments/{DEPLOYMENT}/nodes", answer(nodes))
    assert hotswap("deployment", "show", DEPLOYMENT, home=tmp_path, api=api) == 0
    out = capsys.readouterr().out
    for text in ("Failed after 12s: 1 node failed", "Validation failed: GET / answered 500", "    | two", "    | boom"):
        assert text in out
    assert hotswap("deployment", "show", DEPLOYMENT, "--nodes", "-o", "json", home=tmp_path, api=api) == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == nodes


def test_why_it_ended_is_not_repeated_for_each_stage_that_was_not_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    why = "Security Scan: 3 findings of high severity and more"
    raw = deployment("Failed", reason=why)
    raw["stages"][1] |= {"status": "Failed", "message": why}
    for stage in raw["stages"][2:]:
        stage |= {"status": "Skipped", "message": f"not reached: {why}"}
    raw["stages"][0] |= {"status": "Cancelled", "message": "ended with the deployment: something else"}
    api.on("GET", f"/deployments/{DEPLOYMENT}", answer(raw))
    api.on("GET", f"/deployments/{DEPLOYMENT}/nodes", answer([]))
    assert hotswap("deployment", "show", DEPLOYMENT, home=tmp_path, api=api) == 0
    out = capsys.readouterr().out
    assert out.count(why) == 3  # of the whole, in the stages' table, and as what failed
    assert out.count("not reached") == 4
    assert "ended with the deployment: something else" in out
    events = [event(2, "stage.skipped", stage="Test", message=f"not reached: {why}")]
    api.on("GET", f"/deployments/{DEPLOYMENT}/events", answer(events))
    assert hotswap("deployment", "log", DEPLOYMENT, home=tmp_path, api=api) == 0
    assert capsys.readouterr().out == "05:31:02  Test skipped: not reached\n"


def test_a_plan_without_a_change_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    events = [
        event(2, "deployment.planned", waves=[], skipped=["qa-1", "qa-2", "qa-3"]),
        event(1, "deployment.planned", waves=[]),
    ]
    api.on("GET", f"/deployments/{DEPLOYMENT}/events", answer(events))
    api.on("GET", f"/deployments/{DEPLOYMENT}/nodes", answer([]))
    api.on("GET", f"/deployments/{DEPLOYMENT}", answer(deployment()))
    assert hotswap("deployment", "log", DEPLOYMENT, home=tmp_path, api=api) == 0
    assert capsys.readouterr().out.splitlines() == [
        "05:31:01  planned: nothing to change",
        "05:31:02  planned: nothing to change on 3 nodes",
    ]


def test_the_log_is_everything_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    events = [event(2, "operation.failed", node="qa-1", wave=0, direction="forward", version="1.1.0", error="no"), None]
    events[1] = event(1, "deployment.planned", waves=[["qa-1"], ["qa-2"]], skipped=["qa-3"])
    api.on("GET", f"/deployments/{DEPLOYMENT}/events", answer(events))
    api.on("GET", f"/deployments/{DEPLOYMENT}/nodes", answer([{"hostname": "qa-1", "outputTail": "said\nthis"}]))
    api.on("GET", f"/deployments/{DEPLOYMENT}", answer(deployment()))
    assert hotswap("deployment", "log", DEPLOYMENT, home=tmp_path, api=api) == 0
    assert capsys.readouterr().out.splitlines() == [
        "05:31:01  planned: 2 nodes in 2 waves, without qa-3",
        "05:31:02  qa-1 (wave 1): 1.1.0 failed: no",
        "qa-1 said:",
        "  | said",
        "  | this",
    ]


def test_removing_a_node_asks_first(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", "/nodes", answer([{"nodeId": "n-1", "hostname": "qa-1", "environment": "QA"}]))
    api.on("DELETE", "/nodes/n-1", httpx.Response(204))
    assert hotswap("node", "remove", "qa-1", home=tmp_path, api=api) == ExitCode.USAGE
    assert hotswap("node", "remove", "qa-1", "--yes", home=tmp_path, api=api) == 0
    assert [request.method for request in api.requests] == ["GET", "GET", "DELETE"]


def test_a_modules_log_on_a_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/nodes", answer([{"nodeId": "n-1", "hostname": "qa-1"}]))
    api.on("GET", "/nodes/n-1", answer({"nodeId": "n-1", "hostname": "qa-1", "releases": [{"moduleName": "web"}]}))
    followed = b'data: {"text": "one\\n"}\n\n: still here\n\ndata: {"text": "two\\n"}\n\n'
    stream = httpx.Response(200, content=followed, headers={"Content-Type": "text/event-stream"})
    api.on("GET", "/nodes/n-1/modules/web/log", httpx.Response(200, text="zero\n"), stream)
    assert hotswap("node", "log", "qa-1", home=tmp_path, api=api) == 0
    assert hotswap("node", "log", "qa-1", "web", "--follow", home=tmp_path, api=api) == 0
    assert capsys.readouterr().out == "zero\none\ntwo\n"
    api.on("GET", "/nodes/n-1", answer({"hostname": "qa-1", "releases": [{"moduleName": "a"}, {"moduleName": "b"}]}))
    assert hotswap("node", "log", "qa-1", home=tmp_path, api=api) == ExitCode.USAGE


def test_an_environment_is_put_with_the_version_that_was_read(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", "/environments/QA", answer({"name": "QA"}, headers={"ETag": '"3"'}))
    api.on("PUT", "/environments/QA", answer({"name": "QA"}))
    api.on("PUT", "/environments/Lab%201", answer({"name": "Lab 1"}, 201))
    file = tmp_path / "qa.yaml"
    file.write_text("name: QA\nstrategy: direct\nunavailableAfter: 10s\n")
    assert hotswap("environment", "apply", str(file), "--reason", "why", home=tmp_path, api=api) == 0
    assert api.requests[-1].headers["If-Match"] == '"3"'
    sent = {"name": "QA", "strategy": "direct", "unavailableAfter": "10s", "reason": "why"}
    assert api.bodies("PUT", "/environments/QA") == [sent]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "line "),
        ("- a", "no policy"),
        ("strategy: direct", "no name"),
        ("a: &x [1]\nb: *x\nname: QA", "aliases"),
        ("name: !!python/name:os.system\n", "line 1"),
        ("name: \x00", "not YAML"),
        ("x: " + "y" * 300_000, "too long"),
    ],
)
def test_a_policy_file_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    api = Api()
    assert hotswap("environment", "apply", str(file), home=tmp_path, api=api) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert api.requests == []


def test_an_editor_that_fails_or_changes_nothing_sends_nothing(tmp_path: Path) -> None:
    api = Api()
    api.on("GET", "/environments/QA", answer({"name": "QA"}, headers={"ETag": '"3"'}))
    for editor, code in (("true", 0), ("false", ExitCode.USAGE), ("/no/such/editor", ExitCode.USAGE)):
        environment = {"EDITOR": editor}
        assert hotswap("environment", "edit", "QA", home=tmp_path, api=api, environment=environment) == code
    assert {request.method for request in api.requests} == {"GET"}


def test_a_new_module_is_valid_and_published_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, key = tmp_path / "My Web", tmp_path / "team.key"
    assert hotswap("init", str(folder), home=tmp_path) == 0
    assert hotswap("lint", str(folder), home=tmp_path) == 0
    assert hotswap("keys", "generate", str(key), home=tmp_path) == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    api = Api()
    release = {"moduleName": "my-web", "version": "1.0.0", "digest": "sha256:x", "sizeBytes": 5}
    api.on("POST", "/modules/my-web/releases", answer(release, 201), problem(422, "The version is known."))
    publish = ("release", "publish", str(folder), "--key", str(key), "--commit", "abc")
    assert hotswap(*publish, home=tmp_path, api=api) == 0
    parts = _parts(api.requests[0])
    assert json.loads(parts["metadata"]) == {"commit": "abc"}
    public = load_public((tmp_path / "team.key.pub").read_bytes())
    verify(public, Digest.of_bytes(parts["artifact"]), parts["signature"].decode())
    archive = tmp_path / "web.tar.gz"
    archive.write_bytes(parts["artifact"])
    with archive.open("rb") as file:
        assert inspect(file).manifest.name == "my-web"
    assert hotswap("release", "publish", str(archive), "-k", str(key), home=tmp_path, api=api) == ExitCode.REFUSED
    assert _parts(api.requests[1])["artifact"] == parts["artifact"]
    capsys.readouterr()


def _parts(request: httpx.Request) -> dict[str, bytes]:
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    found = {}
    for part in request.content.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found[head.partition(b'name="')[2].partition(b'"')[0].decode()] = content.removesuffix(b"\r\n")
    return found


def test_a_module_of_files_is_valid_too(tmp_path: Path) -> None:
    assert hotswap("init", str(tmp_path / "site"), "--kind", "files", home=tmp_path) == 0
    assert hotswap("lint", str(tmp_path / "site"), home=tmp_path) == 0


def test_init_and_keys_overwrite_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert hotswap("init", str(tmp_path / "full"), home=tmp_path) == ExitCode.USAGE
    assert hotswap("init", str(tmp_path / "x"), home=tmp_path) == ExitCode.USAGE  # no name for a module
    for taken in ("a.key", "b.key.pub"):
        (tmp_path / taken).write_text("mine")
        assert hotswap("keys", "generate", str(tmp_path / taken[:5]), home=tmp_path) == ExitCode.USAGE
        assert (tmp_path / taken).read_text() == "mine"
    assert not (tmp_path / "b.key").exists()


def test_lint_names_every_problem_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hotswap.yaml").write_text("name: UPPER\nversion: one\nkind: process\nrunn: 1\n")
    assert hotswap("lint", str(tmp_path), home=tmp_path) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "  name: line 1: " in err
    assert "  version: line 2: " in err
    assert "  runn: line 4: " in err


def test_a_private_key_is_never_sent_to_be_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "team.key"
    hotswap("keys", "generate", str(key), home=tmp_path)
    api = Api()
    assert hotswap("keys", "trust", str(key), home=tmp_path, api=api) == ExitCode.USAGE
    assert "private key" in capsys.readouterr().err
    assert api.requests == []
    api.on("POST", "/keys", answer({"keyId": "k", "environment": "QA"}, 201))
    assert hotswap("keys", "trust", f"{key}.pub", "-e", "QA", home=tmp_path, api=api) == 0
    sent = api.bodies("POST", "/keys")[0]
    assert sent["environment"] == "QA"
    assert "PRIVATE" not in sent["publicKey"]


def test_without_a_signing_key_it_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hotswap("init", str(tmp_path / "web"), home=tmp_path)
    assert hotswap("release", "publish", str(tmp_path / "web"), home=tmp_path) == ExitCode.USAGE
    assert "hotswap keys generate" in capsys.readouterr().err


def test_a_cluster_tells_which_modules_are_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    running = {"moduleName": "web", "version": "1.1.0", "status": "running"}
    crashing = {"moduleName": "queue", "version": "2.0.0", "status": "crashLoop"}
    node = {"hostname": "qa-1", "status": "degraded", "releases": [running, crashing]}
    api.on("GET", "/clusters/QA", answer({"environment": "QA", "healthyNodes": 0, "totalNodes": 1, "nodes": [node]}))
    assert hotswap("cluster", "show", "QA", home=tmp_path, api=api) == 0
    assert "web 1.1.0, queue 2.0.0 (crashLoop)" in capsys.readouterr().out


APPROVAL = {
    "deploymentExecutionId": DEPLOYMENT, "moduleName": "web", "version": "1.1.0", "targetEnvironment": "Production",
    "requestedBy": "dora", "status": "Pending", "given": 1, "required": 2, "approvers": ["bob"],
    "timeRemaining": "23:59:12.000", "timeoutAt": "2026-11-25T10:00:00Z",
}  # fmt: skip


def test_approvals_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/approvals/pending", answer([APPROVAL]), answer([]))
    assert hotswap("approval", "list", home=tmp_path, api=api) == 0
    out = capsys.readouterr().out
    for text in (DEPLOYMENT, "web", "1.1.0", "Production", "dora", "1/2", "23h59m"):
        assert text in out
    assert hotswap("approval", "list", home=tmp_path, api=api) == 0
    assert capsys.readouterr().out == "Nothing waits for an approval.\n"


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_an_approval_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    api = Api()
    path = f"/approvals/deployments/{DEPLOYMENT}/{word}"
    decided = APPROVAL | {"status": "Approved" if word == "approve" else "Rejected"}
    api.on("POST", path, answer(APPROVAL), answer(decided))
    assert hotswap("approval", word, DEPLOYMENT, "--reason", "seen it", home=tmp_path, api=api) == 0
    assert capsys.readouterr().out.splitlines() == [
        "web 1.1.0 to Production: Pending", "bob of 2 so far; until 2026-11-25 10:00:00Z",
    ]  # fmt: skip
    assert hotswap("approval", word, DEPLOYMENT, home=tmp_path, api=api) == 0
    assert str(decided["status"]) in capsys.readouterr().out


def test_too_late_and_not_permitted_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    path = f"/approvals/deployments/{DEPLOYMENT}/approve"
    api.on("POST", path, answer({"detail": "It could be decided until noon."}, 410), answer({"detail": "No."}, 403))
    assert hotswap("approval", "approve", DEPLOYMENT, home=tmp_path, api=api) == 5
    assert "It could be decided until noon." in capsys.readouterr().err
    assert hotswap("approval", "approve", DEPLOYMENT, home=tmp_path, api=api) == 4
