"""What a readiness report complains of, and doctor's view of this machine."""

import json
import socket
from pathlib import Path

from deploy.local.doctor import Verdict, examine
from deploy.local.probes import lacking


def test_what_fails_is_named() -> None:
    report = {
        "status": "unavailable",
        "checks": {
            "postgresql": {"status": "ok", "latencyMs": 1},
            "nodes": {"status": "unavailable", "detail": "35 of 38 heard from"},
            "beat": {"status": "unavailable", "detail": None},
        },
    }
    assert lacking(503, json.dumps(report).encode()) == "nodes (35 of 38 heard from), beat (unavailable)"


def test_a_body_that_is_no_report_still_gives_a_reason() -> None:
    for body in (b"", b"<html>", b"[]", b'{"checks": 3}'):
        assert lacking(502, body) == "answers 502"


def test_doctor_finds_this_machine_good_and_a_taken_port_bad(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        findings = examine(tmp_path / "data", listener.getsockname()[1])
    bad = [finding for finding in findings if finding.verdict is Verdict.BAD]
    assert [finding.subject for finding in bad] == ["port"]
    assert "--port" in bad[0].text
    assert not (tmp_path / "data").exists()


def test_doctor_names_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = examine(tmp_path / "file" / "data", 0)
    assert any(f.subject == "data folder" and f.verdict is Verdict.BAD and "--data-dir" in f.text for f in findings)
