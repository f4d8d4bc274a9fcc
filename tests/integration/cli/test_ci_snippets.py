"""deploy/ci against the real API: what a build server would run, in the shell that it would run it in.

Without workers and nodes a deployment stays where it is, which is enough to see it submitted, once, and waited for. How
it ends on real nodes: e2e/test_ci.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml

from app.cli.exit_codes import ExitCode
from tests.integration.cli.conftest import ADMIN, PATIENCE, ROOT, Hotswap, Server
from tests.integration.cli.snippets import CURL, FOLDER, Script, github, gitlab, jenkins

GUIDE = ROOT / "docs" / "guides" / "ci.md"
# Of curl.sh; a machine without them has its text looked at by `sh -n`, as all are.
HAS_CURL = all(map(shutil.which, ("curl", "openssl", "tar", "gzip"))) and b"OpenSSL 3" in (
    subprocess.run(["openssl", "version"], capture_output=True).stdout
)
TOOLS = ("sh", "curl", "openssl", "tar", "gzip", "mktemp", "rm", "date", "cat", "sed", "head", "tr", "cut", "sleep")
SERVED_BY_CURL = ["jq", "python3"] if HAS_CURL and shutil.which("jq") else ["python3"] if HAS_CURL else []


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    login = {"username": "admin", "password": ADMIN}
    answer = httpx.post(f"{server.url}/api/v1/authentication/login", json=login, trust_env=False)
    return str(answer.json()["token"])


@pytest.fixture
def settings(server: Server, token: str) -> dict[str, str]:
    """What is configured in the build server."""
    return {
        "HOTSWAP_URL": server.url,
        "HOTSWAP_TOKEN": token,
        "HOTSWAP_PACKAGE": "git+https://git.example.com/platform/hotswap@v1",
        "HOTSWAP_SIGNING_KEY": server.key.read_text(),
    }


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """A shell's environment, with `hotswap` on its path and a folder to work in."""
    program = tmp_path / "bin" / "hotswap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m app.cli.main "$@"\n')
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}


@pytest.fixture
def module(hotswap: Hotswap, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A site without a build; its name is the test's."""
    folder = tmp_path / f"ci-{abs(hash(request.node.name)) % 10**8}"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>here</h1>")
    (folder / "hotswap.yaml").write_text(
        f"name: '{folder.name}'   # quoted\nversion: 1.0.0\nkind: files\nfiles: {{destination: /srv/{folder.name}}}\n"
    )
    return folder


def ran(script: Script, work: Path, *environments: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    given = dict(script.environment)
    for environment in environments:
        given |= environment
    return subprocess.run(
        [*script.shell, script.text], cwd=work, env=given, capture_output=True, text=True, timeout=PATIENCE
    )


def deployments(hotswap: Hotswap, module: Path) -> list[dict[str, str]]:
    found = hotswap("deployment", "list", "--module", module.name, "-o", "json")
    return [dict(each) for each in json.loads(found.out)]


def test_github_actions(
    hotswap: Hotswap, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    install, *steps = github(settings)
    assert install.environment["HOTSWAP_PACKAGE"] == settings["HOTSWAP_PACKAGE"]
    runner = {
        **job, "MODULE": str(module), "TIMEOUT": "100ms", "RUNNER_TEMP": str(tmp_path), "GITHUB_SHA": "abc123",
        "GITHUB_REF_NAME": "main", "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "team/web",
        "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }  # fmt: skip
    for step in steps[:-1]:
        done = ran(step, tmp_path / "work", runner)
        assert done.returncode == 0, done.stderr
    done = ran(steps[-1], tmp_path / "work", runner)
    assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::stop-commands::")
    assert f"::{lines[0].rpartition(':')[2]}::" in lines
    assert lines[-1] == "::error::still running after 100ms; the deployment goes on"
    ran(steps[-1], tmp_path / "work", runner)  # a request that is repeated
    assert len(deployments(hotswap, module)) == 1
    assert (tmp_path / "summary.md").read_text().count("### <code>") == 2
    release = hotswap("release", "list", module.name, "-o", "json").out
    assert json.loads(release)[0]["metadata"] == {
        "commit": "abc123", "branch": "main", "buildUrl": "https://github.example/team/web/actions/runs/77",
    }  # fmt: skip
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("tmp.")]  # where the key was


def test_gitlab_ci(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    _, script = gitlab()
    project = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key)}  # a variable of type file
    runner = {
        **job, "MODULE": str(module), "TIMEOUT": "100ms", "CI_COMMIT_SHA": "abc123", "CI_COMMIT_REF_NAME": "main",
        "CI_JOB_URL": "https://gitlab.example/team/web/-/jobs/8", "CI_JOB_ID": "8",
    }  # fmt: skip
    done = ran(script, tmp_path / "work", project, runner)
    assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    assert len(deployments(hotswap, module)) == 1
    assert (tmp_path / "work" / "hotswap-summary.md").read_text().startswith("### <code>")


def test_jenkins(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    install, publish, deploy = jenkins()
    assert "venv" in install.text
    credentials = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key)}  # a secret file
    runner = {
        **job, "MODULE": str(module), "TIMEOUT": "100ms", "WORKSPACE_TMP": str(tmp_path), "GIT_COMMIT": "abc123",
        "GIT_BRANCH": "origin/main", "BUILD_URL": "https://jenkins.example/job/web/9/", "BUILD_TAG": "jenkins-web-9",
    }  # fmt: skip
    assert ran(publish, tmp_path / "work", credentials, runner).returncode == 0
    done = ran(deploy, tmp_path / "work", credentials, runner)
    assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    assert settings["HOTSWAP_TOKEN"] not in done.stdout + done.stderr  # Jenkins shows commands (-x)
    assert len(deployments(hotswap, module)) == 1
    assert (tmp_path / "hotswap-summary.md").is_file()


def in_place(module: Path, tmp_path: Path) -> Path:
    """The module as what a build server has checked out: `MODULE` is the folder that a job works in."""
    work = tmp_path / "work"
    work.rmdir()
    module.rename(work)
    return work


def releases(hotswap: Hotswap, module: Path) -> int:
    return len(json.loads(hotswap("release", "list", module.name, "-o", "json").out))


def test_gitlab_ci_again_in_the_same_folder(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    work = in_place(module, tmp_path)
    before = {each.name for each in work.iterdir()}
    _, script = gitlab()
    project = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key)}
    for number in ("8", "9"):
        runner = {
            **job, "MODULE": ".", "TIMEOUT": "100ms", "CI_COMMIT_SHA": "abc123", "CI_COMMIT_REF_NAME": "main",
            "CI_JOB_URL": "https://gitlab.example/team/web/-/jobs/8", "CI_JOB_ID": number,
        }  # fmt: skip
        done = ran(script, work, project, runner)
        assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    assert (releases(hotswap, module), len(deployments(hotswap, module))) == (1, 2)
    assert {each.name for each in work.iterdir()} - before == {"hotswap-summary.md"}
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("tmp.")]


def test_jenkins_again_in_the_same_workspace(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    work = in_place(module, tmp_path)
    before = {each.name for each in work.iterdir()}
    _, publish, deploy = jenkins()
    credentials = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key)}
    for number in ("9", "10"):
        runner = {
            **job, "MODULE": ".", "TIMEOUT": "100ms", "WORKSPACE_TMP": str(tmp_path), "GIT_COMMIT": "abc123",
            "GIT_BRANCH": "origin/main", "BUILD_URL": "https://jenkins.example/", "BUILD_TAG": f"jenkins-web-{number}",
        }  # fmt: skip
        done = ran(publish, work, credentials, runner)
        assert done.returncode == 0, done.stderr
        assert ran(deploy, work, credentials, runner).returncode == ExitCode.STILL_RUNNING
        assert (tmp_path / "hotswap-summary.md").read_text().count("### <code>") == 1  # of this build alone
    assert (releases(hotswap, module), len(deployments(hotswap, module))) == (1, 2)
    assert {each.name for each in work.iterdir()} == before


def test_the_steps_of_the_guide_may_be_repeated(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    work = in_place(module, tmp_path)
    text = GUIDE.read_text().partition("## The steps\n")[2].partition("\n**")[0]
    text = textwrap.dedent(text).replace("NAME VERSION", f"{module.name} 1.0.0").replace(" 45m ", " 1ms ")
    guide = Script("guide", text, ("sh", "-ec"), {})
    given = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key), "COMMIT": "abc", "BRANCH": "main", "URL": "https://ci/7"}
    for run in ("1", "2"):
        done = ran(guide, work, given, {**job, "RUN": run})
        assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    assert (releases(hotswap, module), len(deployments(hotswap, module))) == (1, 2)


def test_the_key_itself_where_a_file_is_wanted(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, tmp_path: Path
) -> None:
    """A variable of GitLab that is not of type file: it works, and in no case is the key in the log."""
    pem = server.key.read_text()
    body = "".join(pem.splitlines()[1:-1])
    _, script = gitlab()
    runner = {
        **job, "MODULE": str(module), "TIMEOUT": "100ms", "CI_COMMIT_SHA": "abc123", "CI_COMMIT_REF_NAME": "main",
        "CI_JOB_URL": "https://gitlab.example/team/web/-/jobs/8", "CI_JOB_ID": "8",
    }  # fmt: skip
    for key, code in ((pem.strip(), ExitCode.STILL_RUNNING), (body, ExitCode.USAGE), (pem[:60], ExitCode.USAGE)):
        done = ran(script, tmp_path / "work", {**settings, "HOTSWAP_SIGNING_KEY": key}, runner)
        assert (done.returncode, body[:30] in done.stdout + done.stderr) == (code, False), done.stderr
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("tmp.")]


@pytest.mark.parametrize("reader", SERVED_BY_CURL[-1:])
def test_curl_repeats_no_key(
    server: Server, settings: dict[str, str], job: dict[str, str], module: Path, reader: str
) -> None:
    pem = server.key.read_text()
    body = "".join(pem.splitlines()[1:-1])
    for key, code in ((pem.strip(), ExitCode.STILL_RUNNING), (body, ExitCode.USAGE), (pem[:60], ExitCode.USAGE)):
        done = curl(module, "QA", settings, server, job, reader, HOTSWAP_SIGNING_KEY=key)
        assert (done.returncode, body[:30] in done.stdout + done.stderr) == (code, False), done.stderr
    assert not [each for each in Path(job["TMPDIR"]).iterdir() if each.name.startswith("tmp.")]


def curl(
    module: Path,
    environment: str,
    settings: dict[str, str],
    server: Server,
    job: dict[str, str],
    reader: str,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """curl.sh with only `reader` to read JSON with."""
    tools = Path(job["TMPDIR"]) / f"tools-{reader}"
    if not tools.exists():
        tools.mkdir()
        for tool in TOOLS:
            (tools / tool).symlink_to(shutil.which(tool) or "/missing")
        # Not a shim of a version manager, which needs more than these.
        (tools / reader).symlink_to(sys.executable if reader == "python3" else shutil.which(reader) or "/missing")
    given = {**settings, "HOTSWAP_SIGNING_KEY": str(server.key), "TMPDIR": job["TMPDIR"], "PATH": str(tools)}
    command = ["sh", str(CURL), str(module), environment]
    given |= {"HOME": job["HOME"], "TIMEOUT": "0", "POLL": "0.2", "RUN": "1", "COMMIT": 'ab"c', **more}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("reader", SERVED_BY_CURL)
def test_curl(
    hotswap: Hotswap, server: Server, settings: dict[str, str], job: dict[str, str], module: Path, reader: str
) -> None:
    done = curl(module, "QA", settings, server, job, reader)
    assert done.returncode == ExitCode.STILL_RUNNING, done.stderr
    assert f"published: {module.name} 1.0.0 (sha256:" in done.stdout
    assert "Queued" in done.stdout
    again = curl(module, "QA", settings, server, job, reader)
    assert again.returncode == ExitCode.STILL_RUNNING
    assert again.stdout.splitlines()[:2] == done.stdout.splitlines()[:2]  # the same release, the same deployment
    (deployment,) = deployments(hotswap, module)
    assert deployment["executionId"] in done.stdout
    assert json.loads(hotswap("release", "list", module.name, "-o", "json").out)[0]["metadata"]["commit"] == 'ab"c'
    left = [each.name for each in Path(job["TMPDIR"]).iterdir() if each.name.startswith("tmp.")]
    assert left == []


@pytest.mark.parametrize("reader", SERVED_BY_CURL[-1:])
def test_curl_says_what_is_wrong(
    server: Server, settings: dict[str, str], job: dict[str, str], module: Path, reader: str
) -> None:
    def refused(code: int, said: str, **more: str) -> None:
        target = more.pop("environment", "QA")
        done = curl(module, target, {**settings, **more}, server, job, reader)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr

    refused(ExitCode.UNREACHABLE, "the token is not accepted", HOTSWAP_TOKEN="wrong")
    refused(ExitCode.REFUSED, "environment", environment="Mars")
    (module / "index.html").write_text("other bytes")
    refused(ExitCode.REFUSED, "was not published: ")
    (module / "hotswap.yaml").write_text("version: 1.0.0\n")
    refused(ExitCode.USAGE, "has no name")
    (module / "hotswap.yaml").unlink()
    refused(ExitCode.USAGE, "has no hotswap.yaml")


def test_all_of_them_are_read_by_what_reads_them(settings: dict[str, str]) -> None:
    assert {each.name for each in FOLDER.iterdir()} == {"curl.sh", "github-actions.yml", "gitlab-ci.yml", "Jenkinsfile"}
    for script in [*github(settings), *gitlab(), *jenkins()]:
        shell = "bash" if script.shell[0] == "bash" else "sh"
        done = subprocess.run([shell, "-n", "-c", script.text], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), script.name
    for shell in ("sh", "bash"):
        assert subprocess.run([shell, "-n", str(CURL)]).returncode == 0
    for name in ("github-actions.yml", "gitlab-ci.yml"):
        text = (FOLDER / name).read_text()
        assert isinstance(yaml.safe_load(text), dict)
        assert not [line for line in text.splitlines() if "\t" in line]
    if shellcheck := shutil.which("shellcheck"):
        done = subprocess.run([shellcheck, str(CURL)], capture_output=True, text=True)
        assert done.stdout == ""
