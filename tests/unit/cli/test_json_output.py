"""`--output json` of every command there is: the option is there, and stdout is JSON and nothing else.

A new command needs a case here. `up` is left out: it is a server in the foreground, and what scripts need of it is in
`run/stack.json` of its data folder.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.lazy import Command
from app.cli.main import COMMANDS
from app.cli.program import program
from tests.unit.cli.harness import DEPLOYMENT, Answer, Api, answer, deployment, event, hotswap, stream

NODE = {"nodeId": "n1", "hostname": "qa-1", "environment": "QA", "status": "healthy", "releases": []}
POLICY = {"name": "QA", "order": 2, "strategy": "rolling"}
APPROVAL = {"deploymentExecutionId": DEPLOYMENT, "moduleName": "web", "status": "Approved"}
STEERED = {"executionId": DEPLOYMENT, "status": "Running"}
USER = {"id": "u1", "username": "anna", "roles": ["Viewer"]}
TOKEN = {"id": "t1", "name": "ci", "prefix": "hs_AAAAAAAA", "roles": ["Viewer"], "expiresAt": None}
RELEASE = {"moduleName": "web", "version": "1.0.0", "digest": "sha256:0", "sizeBytes": 5}
SHOWN = answer(deployment("Succeeded"))
AT = f"/deployments/{DEPLOYMENT}"


@dataclass(frozen=True)
class Case:
    """`HOME` in an argument is the test's folder. `made`: commands before, whose output is not looked at."""

    arguments: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    stdin: str = ""


PASSWORD = {"HOTSWAP_TOKEN": "", "HOTSWAP_USERNAME": "anna", "HOTSWAP_PASSWORD": "correct horse"}
SESSION: dict[str, Answer] = {
    "POST /authentication/login": answer({"token": "t", "refreshToken": "r", "user": {"username": "anna"}}),
    "POST /authentication/logout": httpx.Response(204),
}
KEPT = ("login --name lab --url http://127.0.0.1:1",)
CASES = {
    "doctor": Case("--data-dir HOME/data --port 0"),
    "init": Case("HOME/web"),
    "lint": Case("HOME/web", made=("init HOME/web",)),
    "login": Case("", SESSION, environment=PASSWORD),
    "logout": Case("", SESSION, KEPT, PASSWORD),
    "whoami": Case("", {"GET /authentication/me": answer({"username": "anna"})}),
    "server list": Case("", SESSION, KEPT, PASSWORD),
    "server use": Case("lab", SESSION, KEPT, PASSWORD),
    "server remove": Case("lab", SESSION, KEPT, PASSWORD),
    "keys generate": Case("HOME/team.key"),
    "keys trust": Case("HOME/k.pub", {"POST /keys": answer({"keyId": "k"}, 201)}, ("keys generate HOME/k",)),
    "keys list": Case("", {"GET /keys": answer([{"keyId": "k"}])}),
    "keys remove": Case("k", {"DELETE /keys/k": httpx.Response(204)}),
    "release publish": Case(
        "HOME/web --key HOME/k", {"POST /modules/web/releases": answer(RELEASE, 201)},
        ("init HOME/web --name web", "keys generate HOME/k"),
    ),
    "release list": Case("web", {"GET /modules/web/releases": answer([RELEASE])}),
    "release show": Case("web 1.0.0", {"GET /modules/web/releases/1.0.0": answer(RELEASE)}),
    "deploy": Case("web 1.0.0 --to QA", {"POST /deployments": answer(STEERED, 202)}),
    "rollback": Case(
        "web --in QA",
        {
            "GET /modules/web/environments": answer([{"environment": "QA", "executionId": DEPLOYMENT}]),
            f"POST {AT}/rollback": answer({"rollbackId": DEPLOYMENT, "status": "Queued", "nodesAffected": 1}, 202),
        },
    ),
    "status": Case("", {"GET /status": answer([])}),
    "deployment list": Case("", {"GET /deployments": answer([deployment()])}),
    "deployment show": Case(f"{DEPLOYMENT} --nodes", {f"GET {AT}": SHOWN, f"GET {AT}/nodes": answer([])}),
    "deployment watch": Case(
        DEPLOYMENT, {f"GET {AT}": SHOWN, f"GET {AT}/events": stream(event(1, "deployment.succeeded"))}
    ),
    "deployment log": Case(
        DEPLOYMENT, {f"GET {AT}": SHOWN, f"GET {AT}/nodes": answer([]), f"GET {AT}/events": answer([])}
    ),
    **{
        f"deployment {action}": Case(DEPLOYMENT, {f"POST {AT}/{action}": answer(STEERED, 202)})
        for action in ("cancel", "pause", "resume", "promote", "retry")
    },
    "deployment rollback": Case(DEPLOYMENT, {f"POST {AT}/rollback": answer({"rollbackId": DEPLOYMENT}, 202)}),
    "approval list": Case("", {"GET /approvals/pending": answer([APPROVAL])}),
    "approval approve": Case(DEPLOYMENT, {f"POST /approvals{AT}/approve": answer(APPROVAL)}),
    "approval reject": Case(DEPLOYMENT, {f"POST /approvals{AT}/reject": answer(APPROVAL)}),
    "node list": Case("", {"GET /nodes": answer([NODE])}),
    "node show": Case("qa-1", {"GET /nodes": answer([NODE]), "GET /nodes/n1": answer(NODE)}),
    "node log": Case(
        "qa-1 web", {"GET /nodes": answer([NODE]), "GET /nodes/n1/modules/web/log": httpx.Response(200, text="a\nb\n")}
    ),
    "node drain": Case("qa-1", {"GET /nodes": answer([NODE]), "POST /nodes/n1/drain": answer(NODE)}),
    "node undrain": Case("qa-1", {"GET /nodes": answer([NODE]), "POST /nodes/n1/undrain": answer(NODE)}),
    "node remove": Case("qa-1 --yes", {"GET /nodes": answer([NODE]), "DELETE /nodes/n1": httpx.Response(204)}),
    "cluster show": Case("", {"GET /clusters": answer([])}),
    "environment show": Case("QA", {"GET /environments/QA": answer(POLICY)}),
    "environment apply": Case(
        "HOME/qa.yaml", {"GET /environments/QA": answer(POLICY), "PUT /environments/QA": answer(POLICY)}
    ),
    "environment edit": Case("QA", {"GET /environments/QA": answer(POLICY)}, environment={"EDITOR": "true"}),
    "user list": Case("", {"GET /users": answer([USER])}),
    "user show": Case("anna", {"GET /users": answer([USER])}),
    "user add": Case(
        "anna --email a@x.example --password-stdin", {"POST /users": answer(USER, 201)}, stdin="a-long-passphrase\n"
    ),
    "user change": Case("anna --disable", {"GET /users": answer([USER]), "PATCH /users/u1": answer(USER)}),
    "user unlock": Case("anna", {"GET /users": answer([USER]), "PATCH /users/u1": answer(USER)}),
    "user remove": Case("anna --yes", {"GET /users": answer([USER]), "DELETE /users/u1": httpx.Response(204)}),
    "user password": Case(
        "--password-stdin", {"POST /authentication/password": httpx.Response(204)}, stdin="the-old-one\nthe-new-one\n"
    ),
    "token list": Case("", {"GET /authentication/tokens": answer([TOKEN])}),
    "token create": Case("ci", {"POST /authentication/tokens": answer({**TOKEN, "token": "hs_x"}, 201)}),
    "token revoke": Case(
        "ci",
        {"GET /authentication/tokens": answer([TOKEN]), "DELETE /authentication/tokens/t1": httpx.Response(204)},
    ),
    "completion": Case("bash"),
}  # fmt: skip


def leaves(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
        return
    for name in below:
        yield from leaves(below[name], (*path, name))


LEAVES = dict(leaves(program(COMMANDS)))


def test_every_command_has_the_option_and_a_case() -> None:
    options = {name: {option for param in command.params for option in param.opts} for name, command in LEAVES.items()}
    assert {name for name, of_it in options.items() if "--output" not in of_it} == {"up"}
    assert set(LEAVES) - {"up"} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_it_answers_json_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case, api = CASES[name], Api()
    monkeypatch.setattr("sys.stdin", io.StringIO(case.stdin))
    (tmp_path / "qa.yaml").write_text("name: QA\n")
    for call, given in case.answers.items():
        method, _, path = call.partition(" ")
        api.on(method, path, given)
    for command in case.made:
        words = command.replace("HOME", str(tmp_path)).split()
        assert hotswap(*words, home=tmp_path, api=api, environment=case.environment) == 0
    capsys.readouterr()
    words = f"{name} {case.arguments}".replace("HOME", str(tmp_path)).split()
    assert hotswap(*words, "--output", "json", home=tmp_path, api=api, environment=case.environment) == 0
    out = capsys.readouterr().out
    if name == "deployment watch":  # a value for each event, and the state at last
        assert [json.loads(line).get("executionId") for line in out.splitlines()][-1] == DEPLOYMENT
    else:
        assert isinstance(json.loads(out), dict | list)
