"""The commands against the real API, each in this process but for those that must be signalled or piped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from agent.signatures import Digest
from app.cli.exit_codes import ExitCode
from tests.integration.cli.conftest import ADMIN, DEPLOYER, PATIENCE, ROOT, VIEWER, Hotswap, Server


def as_user(name: str, password: str) -> dict[str, str]:
    return {"HOTSWAP_USERNAME": name, "HOTSWAP_PASSWORD": password}


def published(hotswap: Hotswap, folder: Path, name: str) -> None:
    """Of a module without build and tests, which would need a worker that has Python."""
    assert hotswap("init", str(folder / name)).code == 0
    manifest = folder / name / "hotswap.yaml"
    head, _, rest = manifest.read_text().partition("build:")
    manifest.write_text(head + "run:" + rest.partition("\nrun:")[2])
    assert hotswap("release", "publish", str(folder / name)).code == 0


def submitted(hotswap: Hotswap, name: str, environment: str = "QA") -> str:
    result = hotswap("deploy", name, "1.0.0", "--to", environment, "-o", "json")
    assert result.code == 0, result.err
    return str(json.loads(result.out)["executionId"])


def command(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and with it the tests and all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_log_in_and_out(hotswap: Hotswap, home: Path) -> None:
    assert hotswap("login").code == 0
    nobody = {"HOTSWAP_USERNAME": "", "HOTSWAP_PASSWORD": ""}
    me = hotswap("whoami", **nobody)
    assert me.code == 0
    assert "admin" in me.out
    file = home / ".config" / "hotswap" / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert hotswap("logout", **nobody).code == 0
    assert hotswap("whoami", **nobody).code == ExitCode.UNREACHABLE
    file.write_text(before)
    revoked = hotswap("whoami", **nobody)
    assert revoked.code == ExitCode.UNREACHABLE
    assert "hotswap login" in revoked.err


def test_a_token_that_has_run_out_is_renewed(hotswap: Hotswap, home: Path) -> None:
    assert hotswap("login").code == 0
    file = home / ".config" / "hotswap" / "config.toml"
    lines = file.read_text().splitlines()
    expired = [
        'token = "no.longer.good"' if line.startswith("token") else line
        for line in lines
        if not line.startswith("expires_at")
    ]
    file.write_text("\n".join(expired) + "\n")
    assert hotswap("whoami", HOTSWAP_USERNAME="", HOTSWAP_PASSWORD="").code == 0
    assert "no.longer.good" not in file.read_text()


def test_a_wrong_password_and_a_missing_role(hotswap: Hotswap, tmp_path: Path) -> None:
    wrong = hotswap("whoami", **as_user("deployer", "wrong"))
    assert wrong.code == ExitCode.UNREACHABLE
    assert "cannot log in as deployer" in wrong.err
    hotswap("init", str(tmp_path / "looked-at"))
    viewer = hotswap("release", "publish", str(tmp_path / "looked-at"), **as_user("viewer", VIEWER))
    assert viewer.code == ExitCode.NOT_PERMITTED


def test_publish_the_same_again_other_bytes_and_an_untrusted_key(hotswap: Hotswap, tmp_path: Path) -> None:
    published(hotswap, tmp_path, "web-one")
    again = hotswap("release", "publish", str(tmp_path / "web-one"), "--commit", "abc123")
    assert again.code == 0
    assert again.out.startswith("Already published:")
    (tmp_path / "web-one" / "build.py").write_text("print('other')\n")
    assert hotswap("release", "publish", str(tmp_path / "web-one")).code == ExitCode.REFUSED
    manifest = tmp_path / "web-one" / "hotswap.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    key = tmp_path / "team.key"
    assert hotswap("keys", "generate", str(key)).code == 0
    untrusted = hotswap("release", "publish", str(tmp_path / "web-one"), "--key", str(key))
    assert untrusted.code == ExitCode.REFUSED
    assert hotswap("keys", "trust", f"{key}.pub", **as_user("deployer", DEPLOYER)).code == ExitCode.NOT_PERMITTED
    assert hotswap("keys", "trust", f"{key}.pub", "--environment", "QA").code == 0
    assert "team" in hotswap("keys", "list").out
    assert hotswap("release", "publish", str(tmp_path / "web-one"), "--key", str(key)).code == 0
    assert hotswap("release", "list", "web-one").out.splitlines()[1].split()[0] == "1.0.1"
    assert "web-one" in hotswap("release", "list").out
    identity = json.loads(hotswap("keys", "list", "-o", "json").out)[0]["keyId"]
    assert hotswap("keys", "remove", identity).code == 0


def test_what_the_server_refuses_is_5_and_what_has_no_name_is_2(hotswap: Hotswap, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "hotswap.yaml").write_text("name: web-bad\nversion: one\nkind: process\nrunn: {}\n")
    refused = hotswap("release", "publish", str(tmp_path / "bad"))
    assert refused.code == ExitCode.REFUSED
    assert "version" in refused.err
    assert "runn" in refused.err
    (tmp_path / "bad" / "hotswap.yaml").write_text("version: 1.0.0\n")
    assert hotswap("release", "publish", str(tmp_path / "bad")).code == ExitCode.USAGE


def test_a_deployment_names_every_bad_field(hotswap: Hotswap) -> None:
    result = hotswap("deploy", "No Name", "one", "--to", "Mars")
    assert result.code == ExitCode.REFUSED
    for field in ("moduleName", "version", "targetEnvironment"):
        assert f"  {field}: " in result.err
    assert hotswap("deploy", "not-published", "1.0.0", "--to", "QA").code == ExitCode.REFUSED


def test_look_at_deployments_and_steer_them(hotswap: Hotswap, tmp_path: Path) -> None:
    published(hotswap, tmp_path, "web-two")
    plan = hotswap("deploy", "web-two", "1.0.0", "--to", "QA", "--dry-run")
    assert plan.code == 0
    assert "Security Scan" in plan.out
    identity = submitted(hotswap, "web-two")
    shown = hotswap("deployment", "show", identity[:18])
    assert shown.code == 0
    assert "Deploy to QA" in shown.out
    assert identity in hotswap("deployment", "list", "--module", "web-two").out
    assert "deployment submitted" in hotswap("deployment", "log", identity).out
    forbidden = hotswap("deployment", "promote", identity)
    assert forbidden.code == ExitCode.REFUSED
    assert "Soaking" in forbidden.err
    assert hotswap("deploy", "web-two", "1.0.0", "--to", "QA", "--wait", "--timeout", "1s").code == 6
    cancelled = hotswap("deployment", "cancel", identity, "--wait", "-o", "json")
    assert cancelled.code == ExitCode.NOT_SUCCEEDED
    assert json.loads(cancelled.out)["status"] == "Cancelled"
    assert hotswap("rollback", "web-two", "--in", "QA").code == ExitCode.REFUSED
    assert hotswap("status").code == 0


def test_environments_are_shown_edited_and_applied(hotswap: Hotswap, tmp_path: Path) -> None:
    policy = hotswap("environment", "show", "Staging")
    assert policy.code == 0
    file = tmp_path / "staging.yaml"
    file.write_text(policy.out.replace("maxConcurrentNodes: 10", "maxConcurrentNodes: 3"))
    assert hotswap("environment", "apply", str(file), "--reason", "slower").code == 0
    assert "maxConcurrentNodes: 3" in hotswap("environment", "show", "Staging").out
    file.write_text(policy.out.replace("maxFailedNodes: 0", "maxFailedNodes: many") + "unknownField: 1\n")
    bad = hotswap("environment", "apply", str(file))
    assert bad.code == ExitCode.REFUSED
    assert "  maxFailedNodes: " in bad.err
    assert "  unknownField: " in bad.err
    file.write_text("name: Lab\norder: 9\nstrategy: direct\n")
    assert "is made" in hotswap("environment", "apply", str(file)).out
    assert "Lab" in hotswap("environment", "show").out

    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/maxFailedNodes: 0/maxFailedNodes: 2/" "$1"\n')
    editor.chmod(0o700)
    assert hotswap("environment", "edit", "Lab", EDITOR=str(editor)).code == 0
    assert json.loads(hotswap("environment", "show", "Lab", "-o", "json").out)["maxFailedNodes"] == 2


def test_what_a_module_overrides_and_what_its_release_was_built_from(hotswap: Hotswap, tmp_path: Path) -> None:
    assert hotswap("init", str(tmp_path / "web-five")).code == 0
    told = ("--commit", "0af7651916cd43dd", "--branch", "main", "--metadata", "ticket=A-1")
    assert hotswap("release", "publish", str(tmp_path / "web-five"), *told).code == 0
    assert "ticket: A-1" in hotswap("release", "show", "web-five", "1.0.0").out
    assert "0af7651916cd  main" in hotswap("release", "list", "web-five", "--branch", "main").out
    assert hotswap("release", "list", "web-five", "--branch", "other", "-o", "json").out == "[]\n"

    file = tmp_path / "policy.yaml"
    file.write_text("name: Production\nmodule: web-five\nmaxFailedNodes: 2\napprovals: {required: 2}\n")
    assert "is made" in hotswap("environment", "apply", str(file), "--reason", "two eyes").out
    shown = hotswap("environment", "show", "production", "--module", "web-five").out
    assert "maxFailedNodes: 2" in shown and "#     timeout: 24h" in shown
    plan = hotswap("deploy", "web-five", "1.0.0", "--to", "Production", "--dry-run", "-o", "json")
    assert json.loads(plan.out)["gates"][0]["text"].startswith("2 of Approver")
    file.write_text(shown.replace("maxFailedNodes: 2", "maxFailedNodes: many"))
    assert "  maxFailedNodes: " in hotswap("environment", "apply", str(file)).err
    assert hotswap("node", "list", "--label", "role=web", "--status", "healthy").code == 0
    assert hotswap("deployment", "list", "--status", "running,failed").code == 0
    assert hotswap("deployment", "list", "--status", "lost").code == ExitCode.REFUSED


def test_an_artifact_is_served_by_the_real_server_whole_and_in_parts(
    hotswap: Hotswap, server: Server, tmp_path: Path
) -> None:
    """gunicorn hands a whole file to the kernel, and must not do so with parts."""
    published(hotswap, tmp_path, "web-six")
    digest = json.loads(hotswap("release", "show", "web-six", "1.0.0", "-o", "json").out)["digest"]
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=PATIENCE, trust_env=False) as client:
        login = client.post("/authentication/login", json={"username": "admin", "password": ADMIN})
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        path = "/modules/web-six/releases/1.0.0/artifact"
        whole = client.get(path)
        assert str(Digest.of_bytes(whole.content)) == digest and whole.headers["ETag"] == f'"{digest}"'
        size = len(whole.content)
        part = client.get(path, headers={"Range": f"bytes=5-{size - 6}"})
        assert part.status_code == 206 and part.content == whole.content[5:-5]
        several = client.get(path, headers={"Range": "bytes=0-9,20-29"})
        assert several.status_code == 206 and len(several.content) == int(several.headers["Content-Length"])
        assert whole.content[:10] in several.content and whole.content[20:30] in several.content
        # The connection is kept after each of these, so none of them said more or less than it announced.
        assert client.head(path).headers["Content-Length"] == str(size)
        assert client.get(path, headers={"If-None-Match": f'"{digest}"'}).status_code == 304
        assert client.get(path, headers={"Range": f"bytes={size}-"}).status_code == 416


def test_an_edit_does_not_overwrite_somebody_elses(
    hotswap: Hotswap, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The editor, as it were, is slow: while it is open somebody else applies a policy."""
    other = tmp_path / "other.yaml"
    other.write_text("name: Development\norder: 1\nstrategy: direct\nmaxFailedNodes: 1\n")
    editor = tmp_path / "editor"
    apply = f"cd {ROOT} && {sys.executable} -m app.cli.main environment apply {other} >/dev/null"
    editor.write_text(f'#!/bin/sh\n{apply}\nsed -i "s/maxFailedNodes: 0/maxFailedNodes: 5/" "$1"\n')
    editor.chmod(0o700)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    result = hotswap("environment", "edit", "Development", EDITOR=str(editor))
    assert result.code == ExitCode.REFUSED
    kept = result.err.split("hotswap environment apply ")[1].split()[0]
    assert "maxFailedNodes: 5" in Path(kept).read_text()
    Path(kept).unlink()


def test_nodes_and_clusters(hotswap: Hotswap) -> None:
    assert hotswap("node", "list").out.splitlines()[0].startswith("NODE")
    assert hotswap("cluster", "show").out.splitlines()[1].split()[1] == "0/0"
    assert hotswap("cluster", "show", "QA").code == 0
    assert hotswap("node", "show", "qa-1").code == ExitCode.REFUSED
    assert hotswap("cluster", "show", "Mars").code == ExitCode.REFUSED


def test_ctrl_c_detaches(hotswap: Hotswap, tmp_path: Path, environment: dict[str, str]) -> None:
    published(hotswap, tmp_path, "web-three")
    process = command(environment, "deploy", "web-three", "1.0.0", "--to", "QA", "--watch")
    assert process.stdout is not None
    assert "accepted" in process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.DETACHED
    assert "hotswap deployment watch" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_traceback(hotswap: Hotswap, environment: dict[str, str]) -> None:
    process = command(environment, "environment", "show", "QA")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == ExitCode.PIPE_CLOSED


def test_a_watch_lives_through_a_restart_of_the_api_and_tells_the_end(
    hotswap: Hotswap, server: Server, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Its deployment fails: no node of the environment runs an agent here. That comes from real workers."""
    published(hotswap, tmp_path, "web-four")
    identity = submitted(hotswap, "web-four")
    watching = command(environment, "deployment", "watch", identity, "-o", "json")
    assert watching.stdout is not None
    lines = [json.loads(watching.stdout.readline())]
    with server.working():  # what happens while the API is away is told afterwards
        server.stop()
        server.start()
        out, err = watching.communicate(timeout=PATIENCE)
    lines += [json.loads(line) for line in out.splitlines()]
    assert watching.returncode == ExitCode.NOT_SUCCEEDED, err
    numbers = [line["id"] for line in lines[:-1]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert lines[-1]["status"] == "Failed"
    shown = hotswap("deployment", "watch", identity)
    assert shown.code == ExitCode.NOT_SUCCEEDED
    assert "Deploy to QA failed" in shown.out
    retried = hotswap("deployment", "retry", identity, "-o", "json")
    assert retried.code == 0
    assert json.loads(retried.out)["executionId"] != identity


def test_what_waits_for_a_person_is_cancelled_at_the_time_limit(
    hotswap: Hotswap, server: Server, tmp_path: Path
) -> None:
    published(hotswap, tmp_path, "web-held")
    deploy = ("deploy", "web-held", "1.0.0", "--to", "QA", "--require-approval", "--idempotency-key", "five", "--wait")
    with server.working():
        assert hotswap(*deploy).code == ExitCode.WAITING_FOR_A_PERSON
        done = hotswap(*deploy, "--timeout", "100ms", "--cancel-on-timeout", "-o", "json")
    assert (done.code, json.loads(done.out)["status"]) == (ExitCode.STILL_RUNNING, "Cancelled")
