"""`hotswap release`: what is said of a release when it is published, and how it is shown."""

from __future__ import annotations

import email
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest

from agent.signatures import generate, private_pem
from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import Api, answer, hotswap, problem

RELEASE: dict[str, Any] = {
    "moduleName": "web",
    "version": "1.1.0",
    "digest": "sha256:" + "a" * 64,
    "sizeBytes": 1300,
    "signedBy": "0123456789abcdef",
    "createdBy": "ci",
    "createdAt": "2026-11-24T05:31:00.000Z",
    "metadata": {"commit": "0af7651916cd43dd8448eb211c80319c", "branch": "main", "ticket": "A-1\x1b[2J"},
    "provenance": {"builder": {"id": "ci-7"}},
    "manifest": {"name": "web", "kind": "process"},
}


def publish(home: Path, api: Api, *options: str) -> int:
    folder = home / "web"
    if not folder.exists():
        folder.mkdir()
        (folder / "hotswap.yaml").write_text("name: web\nversion: 1.1.0\nkind: process\n")
        (home / "team.key").write_bytes(private_pem(generate()))
    return hotswap("release", "publish", str(folder), "--key", str(home / "team.key"), *options, home=home, api=api)


def parts(api: Api) -> dict[str, str]:
    """The parts of the last upload that are no file."""
    request = api.requests[-1]
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.content, policy=email.policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_content()
        for part in message.iter_parts()
        if part.get_content_type() == "text/plain"
    }


@pytest.mark.parametrize("name", ["Bad_five", "x", "-web", "web/../etc"])
def test_a_name_that_no_server_can_be_asked_about_is_told_as_by_lint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    api = Api()
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "hotswap.yaml").write_text(f"name: {name}\nversion: one\nkind: process\n")
    (tmp_path / "team.key").write_bytes(private_pem(generate()))
    assert publish(tmp_path, api) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert hotswap("lint", str(folder), home=tmp_path) == ExitCode.USAGE
    assert capsys.readouterr().err == told
    assert "  name: " in told
    assert "  version: " in told  # every fault at once
    assert api.requests == []


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08\x00broken", None])
def test_a_broken_archive_is_told_as_by_lint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    file = tmp_path / "web.tar.gz"
    if content is not None:
        file.write_bytes(content)
    (tmp_path / "team.key").write_bytes(private_pem(generate()))
    assert hotswap("lint", str(file), home=tmp_path) == ExitCode.USAGE
    told = capsys.readouterr().err
    key = ("--key", str(tmp_path / "team.key"))
    assert hotswap("release", "publish", str(file), *key, home=tmp_path) == ExitCode.USAGE
    assert capsys.readouterr().err == told


def test_what_is_said_of_a_release_is_sent_with_it(tmp_path: Path) -> None:
    api = Api()
    api.on("POST", "/modules/web/releases", answer(RELEASE, 201))
    assert publish(tmp_path, api) == 0
    assert {"metadata", "provenance"}.isdisjoint(parts(api))
    file = tmp_path / "provenance.json"
    file.write_text('{"builder": {"id": "ci-7"}}')
    options = ("--commit", "abc", "--build-url", "https://ci/7", "--metadata", "ticket=A=1", "--metadata", "commit=no")
    assert publish(tmp_path, api, *options, "--provenance", str(file)) == 0
    sent = parts(api)
    assert json.loads(sent["metadata"]) == {"commit": "abc", "buildUrl": "https://ci/7", "ticket": "A=1"}
    assert json.loads(sent["provenance"]) == {"builder": {"id": "ci-7"}}


def test_what_cannot_be_sent_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    file = tmp_path / "bad.json"
    assert publish(tmp_path, api, "--metadata", "ticket") == ExitCode.USAGE
    assert "--metadata takes KEY=VALUE" in capsys.readouterr().err
    for content in ("[]", "{", "[" * 100_000):
        file.write_text(content)
        assert publish(tmp_path, api, "--provenance", str(file)) == ExitCode.USAGE
    assert publish(tmp_path, api, "--provenance", str(tmp_path / "none")) == ExitCode.USAGE
    assert api.requests == []


def test_a_release_is_shown_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/modules/web/releases/1.1.0", answer(RELEASE))
    assert hotswap("release", "show", "web", "1.1.0", home=tmp_path, api=api) == 0
    out = capsys.readouterr().out
    for text in ("1.3 kB", "2026-11-24 05:31:00Z by ci", "metadata:", "  branch: main", "provenance:", "    id: ci-7"):
        assert text in out
    assert "  kind: process" in out and "\x1b" not in out and "retired" not in out
    assert hotswap("release", "show", "web", "1.1.0", "-o", "json", home=tmp_path, api=api) == 0
    assert json.loads(capsys.readouterr().out) == RELEASE
    api.on("GET", "/modules/web/releases/1.0.0", answer({**RELEASE, "retiredAt": "2026-11-25T05:31:00.000Z"}))
    assert hotswap("release", "show", "web", "1.0.0", home=tmp_path, api=api) == 0
    assert "retired    2026-11-25 05:31:00Z\n" in capsys.readouterr().out
    api.on("GET", "/modules/web/releases/9.9.9", problem(404, "There is no release 9.9.9 of web."))
    assert hotswap("release", "show", "web", "9.9.9", home=tmp_path, api=api) == ExitCode.REFUSED


def test_lists_say_what_releases_were_built_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/modules/web/releases", answer([RELEASE, {"version": "1.0.0", "metadata": {}}]))
    assert hotswap("release", "list", "web", "--branch", "main", "--commit", "0af", home=tmp_path, api=api) == 0
    assert dict(api.requests[0].url.params) == {"branch": "main", "commit": "0af", "limit": "50"}
    head, first, second = capsys.readouterr().out.splitlines()
    assert "COMMIT" in head and "0af7651916cd  main" in first and second.split()[-1] == "-"
    assert hotswap("release", "list", "--branch", "main", home=tmp_path, api=api) == ExitCode.USAGE
