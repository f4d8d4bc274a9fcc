"""Summaries in Markdown, against golden files, and what hostile data makes of them in a real Markdown parser.

`WRITE_GOLDEN=1 pytest tests/unit/cli/test_summary.py` writes the golden files anew; look at the difference.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from app.cli.deployment_view import deployment_view, node_view
from app.cli.exit_codes import ExitCode
from app.cli.markdown import foreign
from app.cli.summary import summary
from tests.unit.cli.harness import DEPLOYMENT, URL, Api, answer, deployment, event, hotswap, stream

GOLDEN = Path(__file__).with_name("golden")
NOW = datetime(2026, 11, 24, 5, 33, tzinfo=UTC)
HOSTILE = (
    "x | y\n\n# h <img src=x onerror=alert(1)> [a](javascript:b) `c` **d** @all #1 https://e.example www.f.g $h$ \u202e"
    " &lt; \\| </code> ~~i~~"
)


def stages(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """The six, those named changed: `Build={...}`, `Scan={...}`, `Test={...}`, `Deploy={...}`."""
    found: list[dict[str, Any]] = deployment()["stages"]
    for word, change in changed.items():
        for stage in found:
            if word in stage["name"]:
                stage.update(change)
    return found


def node(name: str, status: str = "Succeeded", **more: Any) -> dict[str, Any]:
    versions = {"fromVersion": "1.0.0", "toVersion": "1.1.0"}
    return {"hostname": name, "wave": 0, "status": status, "direction": "forward", **versions, "error": None, **more}


def finding(severity: str, stops: bool, **more: Any) -> dict[str, Any]:
    text = "looks like a password; take it out and use the environment's configuration"
    place = {"file": "app/settings.py", "line": 12}
    judged = {"stops": stops, "exception": None}
    return {"severity": severity, "rule": "secrets.password", "text": text, **place, **judged, **more}


WAVES = [{"wave": 0, "status": "Succeeded", "nodes": 2}]
TESTS = {"total": 12, "passed": 10, "failed": 1, "skipped": 1, "failing": ["cart: test_total"]}
PASSED = {"total": 12, "passed": 12, "failed": 0, "skipped": 0, "failing": []}
LOOKED = {
    "findings": [
        finding("medium", False),
        finding("high", False, rule="bandit.B602", exception="known-shell", line=None),
        finding("critical", True, file=None),
    ],
    "counts": {"critical": 1, "high": 1, "medium": 1, "low": 3},
}
SUCCEEDED = deployment(
    "Succeeded",
    digest="sha256:" + "ab" * 32,
    stages=stages(
        Build={"status": "Succeeded", "duration": "00:00:04.200", "message": "built sha256:abab (24 kB)"},
        Scan={"status": "Succeeded", "duration": "00:00:01.000", "message": "signed by 0123", "details": {"built": {}}},
        Test={"status": "Succeeded", "duration": "00:01:05.000", "details": {"tests": PASSED}},
        Deploy={"status": "Succeeded", "duration": "00:00:30.000", "nodesDeployed": 2, "waves": WAVES},
    ),
)
FAILED = deployment(
    "Failed",
    reason="Test failed",
    retryOf=DEPLOYMENT,
    stages=stages(
        Scan={"status": "Failed", "message": "1 finding stops", "details": {"source": LOOKED}},
        Test={"status": "Failed", "message": "the tests ended with 1", "details": {"tests": TESTS}},
    ),
)
ROLLED_BACK = deployment(
    "RolledBack",
    reason="1 of 2 nodes failed",
    stages=stages(Deploy={"status": "RolledBack", "nodesDeployed": 1, "nodesFailed": 1, "waves": WAVES}),
)
WAITING = deployment(
    "PendingApproval",
    waitingFor=[{"kind": "approval", "text": "an approval by Approver", "until": "2026-11-25T05:31:00Z"}],
    stages=stages(Approval={"status": "Waiting"}),
)
MUCH = {"findings": [finding("high", True)] * 100, "counts": {"high": 150}}
MANY = deployment(
    "Failed",
    stages=stages(
        Scan={"status": "Failed", "details": {"built": MUCH}},
        Test={"status": "Failed", "details": {"tests": {"total": 99, "failed": 90, "failing": ["t"] * 50}}},
    ),
)
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "succeeded": (SUCCEEDED, [node("qa-1"), node("qa-2", fromVersion=None)]),
    "failed": (FAILED, []),
    "rolled-back": (
        ROLLED_BACK,
        [
            node("qa-1"),
            node("qa-2", "Failed", error="never healthy"),
            node("qa-1", direction="back", fromVersion="1.1.0", toVersion="1.0.0"),
        ],
    ),
    "waiting": (WAITING, []),
    "many": (MANY, [node(f"qa-{number}", "Lost") for number in range(30)]),
}


def made(raw: dict[str, Any], nodes: list[dict[str, Any]]) -> str:
    return summary(deployment_view(raw), [node_view(each) for each in nodes], "https://hotswap.example", NOW)


@pytest.mark.parametrize("name", CASES)
def test_it_is_as_it_was(name: str) -> None:
    text, file = made(*CASES[name]), GOLDEN / f"summary-{name}.md"
    if os.environ.get("WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.code: list[str] = []
        self.plain = ""
        self.rows: list[int] = []
        self._open: list[str] = []
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        if tag == "code":
            self.code.append("")
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "code" in self._open:
            self.code[-1] += data
        else:
            self.plain += data


def hostile(value: Any) -> Any:
    """Every text replaced by one that tries everything; what has a form (times, durations) stays."""
    if isinstance(value, dict):
        keep = ("duration", "startTime", "endTime", "until", "executionId")
        return {key: each if key in keep else hostile(each) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("name", CASES)
def test_nothing_that_a_module_says_is_more_than_text(name: str) -> None:
    raw, nodes = CASES[name]
    usual = Page(made(raw, nodes))
    attacked = made({**hostile(raw), "executionId": raw["executionId"]}, hostile(nodes))
    page = Page(attacked)
    assert page.tags <= {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "a", "strong", "ul", "li"}
    assert page.links == usual.links == [f"https://hotswap.example/api/v1/deployments/{DEPLOYMENT}"]
    assert all(width in (2, 4, 5) for width in page.rows)
    assert not re.search(r"onerror|javascript|example|@|#1|www|\$", page.plain)
    shown = " ".join(HOSTILE.replace("\u202e", "").split())
    assert shown in page.code
    # What some pages do to text after Markdown was read (mentions, references, bare links) finds nothing either.
    assert not re.search(r"@\w|(?<!&)#\d|https?://(?!hotswap\.example)|www\.|\\", attacked)


def test_an_id_that_is_none_makes_no_link() -> None:
    text = made({**SUCCEEDED, "executionId": "../../x](https://evil.example)"}, [])
    assert Page(text).links == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ("\u200b\x1b[31m", "-"),
        ("1.1.0+b-1", "<code>1.1.0+b-1</code>"),
        ("a|b", "<code>a&#124;b</code>"),
        ("a\\|b", "<code>a&#92;&#124;b</code>"),
        ("www.x.y", "<code>www&#46;x.y</code>"),
        ("é_ü", "<code>é&#95;ü</code>"),
        ("x" * 300, f"<code>{'x' * 199}…</code>"),
    ],
)
def test_foreign_text(value: str | None, shown: str) -> None:
    assert foreign(value) == shown


def api_of(status: str) -> Api:
    api, at = Api(), f"/deployments/{DEPLOYMENT}"
    api.on("POST", "/deployments", answer({"executionId": DEPLOYMENT, "status": "Queued"}, 202))
    api.on("GET", at, answer(deployment(status)))
    api.on("GET", f"{at}/nodes", answer([node("qa-1")]))
    api.on("GET", f"{at}/events", stream(event(1, f"deployment.{status[0].lower()}{status[1:]}")))
    return api


@pytest.mark.parametrize(
    ("status", "code"),
    [("Succeeded", ExitCode.DONE), ("Failed", 1), ("PendingApproval", ExitCode.WAITING_FOR_A_PERSON)],
)
def test_waiting_writes_it_however_it_ends(tmp_path: Path, status: str, code: int) -> None:
    file = tmp_path / "summary.md"
    words = ("deploy", "web", "1.1.0", "--to", "QA", "--wait", "--summary", str(file))
    for _ in range(2):  # both are in one file
        assert hotswap(*words, home=tmp_path, api=api_of(status)) == code
    text = file.read_text()
    assert text.count("### <code>payment-processor 1.1.0</code> to <code>QA</code>: ") == 2
    assert status in text.replace("**", "")
    assert f"{URL}/api/v1/deployments/{DEPLOYMENT}" in text


def test_show_and_watch_write_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, flags in (("show", ("-o", "json")), ("watch", ())):
        file = tmp_path / f"{command}.md"
        words = ("deployment", command, DEPLOYMENT, "--summary", str(file), *flags)
        assert hotswap(*words, home=tmp_path, api=api_of("Succeeded")) == 0
        assert "| <code>1.0.0</code> | <code>1.1.0</code> | 1 | Succeeded |" in file.read_text()
    assert "###" not in capsys.readouterr().out


def test_a_file_that_cannot_be_written_keeps_anything_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = api_of("Succeeded")
    words = ("deploy", "web", "1.1.0", "--to", "QA", "--summary")
    assert hotswap(*words, str(tmp_path / "no" / "file"), "--wait", home=tmp_path, api=api) == ExitCode.USAGE
    assert "cannot write the summary" in capsys.readouterr().err
    assert hotswap(*words, str(tmp_path / "file"), home=tmp_path, api=api) == ExitCode.USAGE
    assert "--summary needs --wait or --watch" in capsys.readouterr().err
    assert api.requests == []
