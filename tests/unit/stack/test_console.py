"""What `hotswap up` says: text for the person, JSON lines in the log, and nothing secret in those."""

from __future__ import annotations

import io
import json
from pathlib import Path

from agent.telemetry.names import Field
from deploy.local.console import Console


def test_the_log_has_what_is_said_and_not_what_is_only_shown(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(shown)
    console.say("before there is a log")
    console.keep(tmp_path / "supervisor.log")
    console.say("api ended with code 1: cannot reach postgresql://hotswap:topsecret@127.0.0.1/hotswap")
    console.show("    admin  a generated password")
    (line,) = [json.loads(line) for line in (tmp_path / "supervisor.log").read_text().splitlines()]
    assert line["service"] == "supervisor" and line["event"].startswith("api ended with code 1")
    assert "topsecret" not in line["event"] and set(line) <= set(Field)
    assert "a generated password" in shown.getvalue() and "before there is a log" in shown.getvalue()


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(shown)
    console.keep(tmp_path / "none" / "supervisor.log")
    console.say("it goes on")
    assert "it goes on" in shown.getvalue()
