"""The holder's lines have the names of everybody's lines, although it shares no code with them."""

from __future__ import annotations

import json

import pytest

from agent.holder.report import report
from agent.telemetry.names import Field


def test_lines_have_everybodys_names(capsys: pytest.CaptureFixture[str]) -> None:
    report("another holder serves this folder")
    try:
        raise ValueError("broken")
    except ValueError as error:
        report("spawn failed", error)
    plain, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert (plain["event"], plain["level"]) == ("another holder serves this folder", "warning")
    assert (failed["level"], failed["error"]) == ("error", "ValueError: broken")
    assert "test_report" in failed["exception"]
    assert set(plain) | set(failed) <= set(Field)
