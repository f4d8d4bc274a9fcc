"""The command that the guide prints for finding all lines of a deployment, run as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "observing.md"
HERE = [tool for tool in ("jq",) if shutil.which(tool)]
"""Whoever has no jq cannot run the command either."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def _line(event: str, time: str, trace: str = TRACE) -> str:
    return json.dumps({"time": f"2026-11-24T10:00:{time}Z", "event": event, "trace_id": trace}) + "\n"


@pytest.mark.parametrize("tool", HERE)
def test_the_printed_command_finds_every_line_of_a_trace_beside_logs_that_are_no_json(
    tmp_path: Path, tool: str
) -> None:
    (command,) = re.findall(rf"^    ({tool} .+)$", GUIDE.read_text(), re.M)
    logs = tmp_path / "var" / "local" / "logs"
    logs.mkdir(parents=True)
    others = _line("of another deployment", "02", trace="0" * 32)
    (logs / "api.log").write_text(_line("deployment submitted", "01.5") + "Traceback\n" + others)
    (logs / "postgres.log").write_text('2026\n"text"\nnull\n[1]\n{"broken\n2026-11-24 LOG:  ready\n\n\\xff\n')
    (logs / "supervisor.log").write_text(_line("told by the last file but one", "02.5"))
    (logs / "urgent.log").write_text(_line("stage ended", "02.0"))
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events == ["deployment submitted", "stage ended", "told by the last file but one"]
