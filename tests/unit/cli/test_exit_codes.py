"""Every way in which a server can say no, or say nothing, and what the command makes of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import URL, Answer, Api, answer, hotswap, problem

ROOT = Path(__file__).resolve().parents[3]


def raising(error: Exception) -> Answer:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise error

    return respond


@pytest.mark.parametrize(
    ("answered", "expected", "said"),
    [
        (problem(401, "This session has ended."), ExitCode.UNREACHABLE, "HOTSWAP_TOKEN"),
        (problem(403, "It takes the role Deployer."), ExitCode.NOT_PERMITTED, "It takes the role Deployer."),
        (problem(404, "There is no release 9.9.9."), ExitCode.REFUSED, "There is no release 9.9.9."),
        (problem(409, "The key was used for another body."), ExitCode.REFUSED, "another body"),
        (problem(422, "The signature does not hold."), ExitCode.REFUSED, "signature"),
        (problem(429, "Over quota."), ExitCode.REFUSED, "Over quota."),
        (problem(500, "An error of the server."), ExitCode.UNREACHABLE, "(trace t1)"),
        (problem(503, "The database does not answer."), ExitCode.UNREACHABLE, "The database does not answer."),
        (httpx.Response(502, text="<html>Bad Gateway</html>"), ExitCode.UNREACHABLE, "502"),
        (httpx.Response(302, headers={"Location": "https://sso.example"}), ExitCode.UNREACHABLE, "https://sso.example"),
        (httpx.Response(200, text="<html>hello</html>"), ExitCode.UNREACHABLE, "not JSON"),
        (raising(httpx.ConnectError("[Errno 111] Connection refused")), ExitCode.UNREACHABLE, "hotswap up"),
        (raising(httpx.ConnectTimeout("")), ExitCode.UNREACHABLE, "no connection within"),
        (raising(httpx.ReadTimeout("")), ExitCode.UNREACHABLE, "took too long"),
        (raising(httpx.RemoteProtocolError("Server disconnected")), ExitCode.UNREACHABLE, "Server disconnected"),
        (raising(httpx.ConnectError("CERTIFICATE_VERIFY_FAILED")), ExitCode.UNREACHABLE, "SSL_CERT_FILE"),
    ],
)
def test_every_refusal_is_one_line_and_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answered: Answer, expected: ExitCode, said: str
) -> None:
    api = Api()
    api.on("GET", "/status", answered)
    assert hotswap("status", home=tmp_path, api=api) == expected
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("hotswap: ")
    assert len(err.splitlines()) == 1


def test_a_400_names_every_bad_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    errors = {"version": ["must be a semantic version"], "targetEnvironment": ["'Mars' is not an environment"]}
    repeated = "; ".join(f"{field}: {messages[0]}" for field, messages in errors.items())
    api.on("POST", "/deployments", problem(400, repeated, errors))
    assert hotswap("deploy", "m", "one", "--to", "Mars", home=tmp_path, api=api) == ExitCode.REFUSED
    assert capsys.readouterr().err.splitlines() == [
        "hotswap: what was sent is not valid:",
        "  version: must be a semantic version",
        "  targetEnvironment: 'Mars' is not an environment",
    ]


def test_with_json_an_error_is_the_servers_problem_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    api.on("GET", "/status", problem(403, "No.", {}))
    assert hotswap("status", "--output", "json", home=tmp_path, api=api) == ExitCode.NOT_PERMITTED
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["detail"] == "No."
    assert json.loads(err)["exitCode"] == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploymnt",),
        ("deploy", "m"),
        ("deploy", "m", "1.0.0"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--watch", "--wait"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--timeout", "5m"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--wait", "--timeout", "soon"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--wait", "--cancel-on-timeout"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--dry-run", "--watch"),
        ("deploy", "m", "1.0.0", "--to", "QA", "--metadata", "nothing"),
        ("status", "--output", "xml"),
        ("status", "--url", "ftp://here"),
        ("deployment", "show", "xyz"),
        ("lint", "/does/not/exist"),
        ("release", "publish", "/does/not/exist"),
    ],
)
def test_wrong_usage_is_2_and_asks_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    api = Api()
    assert hotswap(*arguments, home=tmp_path, api=api) == ExitCode.USAGE
    assert api.requests == []
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploymnt",), "deploymnt"),
        (("deploy", "m"), "version"),
        (("deploy", "m", "1.0.0"), "--to"),
        (("deployment", "list", "--limit", "0"), "--limit"),
        (("deployment", "list", "--limit", "many"), "--limit"),
        (("init", "x", "--language", "cobol"), "cobol"),
        (("status", "--no-such-option"), "--no-such-option"),
        (("deployment", "shw"), "shw"),
        (("--url", URL), "command"),
        (("deployment", "show", "xyz"), "xyz"),
        (("status", "--url", "ftp://here"), "ftp"),
    ],
)
@pytest.mark.parametrize("way", ["-o json", "--output json", "--output=JSON", "-ojson", "HOTSWAP_OUTPUT", "file"])
def test_with_json_wrong_usage_is_json_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str, way: str
) -> None:
    flags = way.split() if way.startswith("-") else []
    (tmp_path / "config.toml").write_text('output = "json"' if way == "file" else "")
    variables = {"HOTSWAP_CONFIG": str(tmp_path / "config.toml")}
    variables |= {"HOTSWAP_OUTPUT": "json"} if way == "HOTSWAP_OUTPUT" else {}
    if way == "file" and "--url" in arguments:
        flags = ["-o", "json"]  # the configuration as a whole is what cannot be used then
    assert hotswap(*arguments, *flags, home=tmp_path, environment=variables) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    told = json.loads(err)
    assert told["exitCode"] == 2
    assert said in told["detail"]


def test_with_json_no_command_at_all_is_no_help_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("deployment",)):
        assert hotswap(*arguments, home=tmp_path, environment={"HOTSWAP_OUTPUT": "json"}) == ExitCode.USAGE
        assert "--help names them" in json.loads(capsys.readouterr().err)["detail"]


def test_as_text_wrong_usage_comes_with_the_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("deploy", "m", "--", "-o", "json", home=tmp_path) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: hotswap deploy ")
    assert hotswap(home=tmp_path) == ExitCode.USAGE
    assert "Commands:" in capsys.readouterr().err


def test_also_a_fault_of_our_own_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/status", answer([1]))
    assert hotswap("status", "-o", "json", home=tmp_path, api=api) == ExitCode.DEFECT
    assert json.loads(capsys.readouterr().err)["exitCode"] == 70


@pytest.mark.parametrize("reason", ["The API token has expired.", "The API token was revoked."])
def test_why_a_token_is_not_accepted_is_what_the_server_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    api = Api()
    api.on("GET", "/status", problem(401, reason))
    assert hotswap("status", home=tmp_path, api=api) == ExitCode.UNREACHABLE
    assert capsys.readouterr().err == f"hotswap: the server does not accept the token in HOTSWAP_TOKEN: {reason}\n"
    assert hotswap("status", "-o", "json", home=tmp_path, api=api) == ExitCode.UNREACHABLE
    told = json.loads(capsys.readouterr().err)
    assert (told["detail"], told["status"], told["traceId"], told["exitCode"]) == (reason, 401, "t1", 3)


def test_a_401_of_what_is_no_hotswap_is_told_in_our_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/status", httpx.Response(401, text="<html>"))
    assert hotswap("status", home=tmp_path, api=api) == ExitCode.UNREACHABLE
    assert "wrong, revoked or expired" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "-o", "json"), ("up",)])
def test_where_only_the_command_line_is_installed_it_says_so(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "sys.modules['uuid6'] = None\n"
        "from app.cli.main import COMMANDS\n"
        "from app.cli.program import run\n"
        "sys.exit(run(COMMANDS))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "only the command line is installed here" in done.stdout + done.stderr
    assert "uuid6" in done.stdout + done.stderr
    if "json" in arguments:
        (finding,) = json.loads(done.stdout)
        assert finding["verdict"] == "bad"


def test_without_credentials_it_says_how_to_log_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    code = hotswap("status", home=tmp_path, api=api, environment={"HOTSWAP_TOKEN": ""})
    assert code == ExitCode.UNREACHABLE
    assert "hotswap login" in capsys.readouterr().err
    assert api.requests == []


def test_a_port_where_nobody_listens_is_told_quickly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from app.cli.invocation import Invocation
    from app.cli.main import COMMANDS
    from app.cli.program import run

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        environment = {"HOME": str(tmp_path), "HOTSWAP_URL": url, "HOTSWAP_TOKEN": "hs_x"}
        assert run(COMMANDS, ["status"], Invocation(environment)) == ExitCode.UNREACHABLE
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"cannot reach {url}: connection refused" in err


def test_a_fault_of_our_own_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    api.on("GET", "/status", answer([1]))  # a number where a mapping belongs
    assert hotswap("status", home=tmp_path, api=api) == ExitCode.DEFECT
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "HOTSWAP_DEBUG=1" in err


def test_what_may_be_repeated_is_tried_again_when_the_connection_breaks(tmp_path: Path) -> None:
    api = Api()
    broken = raising(httpx.RemoteProtocolError("Server disconnected"))
    accepted = answer({"executionId": "x", "status": "Queued"}, 202)
    api.on("POST", "/deployments", broken, problem(503, "The database restarts."), accepted)
    assert hotswap("deploy", "m", "1.0.0", "--to", "QA", home=tmp_path, api=api) == ExitCode.DONE
    keys = {request.headers["Idempotency-Key"] for request in api.requests}
    assert len(api.requests) == 3
    assert len(keys) == 1


def test_what_may_not_be_repeated_is_sent_once(tmp_path: Path) -> None:
    api = Api()
    identity = "0192f0c1-1111-7000-8000-000000000001"
    api.on("POST", f"/deployments/{identity}/pause", raising(httpx.ReadError("reset")))
    assert hotswap("deployment", "pause", identity, home=tmp_path, api=api) == ExitCode.UNREACHABLE
    assert len(api.requests) == 1
