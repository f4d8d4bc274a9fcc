"""The picture of a watch on a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from app.cli.configuration import OutputFormat
from app.cli.deployment_view import DeploymentView, NodeView, deployment_view, node_view
from app.cli.live import LiveDisplay
from app.cli.output import Output
from tests.unit.cli.harness import deployment

START = datetime(2026, 11, 24, 5, 31, tzinfo=UTC)


class Screen:
    """A terminal of 80 columns that only remembers what was written to it."""

    def __init__(self, encoding: str = "utf-8", width: int = 80) -> None:
        self.bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self.bytes, encoding=encoding, write_through=True)
        self.console = Console(file=self.file, width=width, height=40, force_terminal=True, highlight=False)
        self.now = START + timedelta(seconds=64)

    def display(self) -> LiveDisplay:
        output = Output(OutputFormat.TEXT, self.file, self.file)
        return LiveDisplay(output, "Ctrl-C detaches; the deployment goes on.", lambda: self.now, self.console)

    def written(self) -> bytes:
        return self.bytes.getvalue()


def picture(view: DeploymentView, nodes: Sequence[NodeView] = (), *, width: int = 80) -> list[str]:
    """The lines that one state is drawn as."""
    screen = Screen(width=width)
    display = screen.display()
    display.state(view, nodes)
    plain = io.StringIO()
    Console(file=plain, width=width, highlight=False, color_system=None).print(display._picture(view))
    return plain.getvalue().splitlines()


def rolling(**more: Any) -> DeploymentView:
    raw = deployment("Running", **more)
    waves = [
        {"wave": 0, "status": "Succeeded", "nodes": 5, "nodesDeployed": 5, "nodesFailed": 0, "nodesSkipped": 0},
        {"wave": 1, "status": "Running", "nodes": 5, "nodesDeployed": 2, "nodesFailed": 1, "nodesSkipped": 0},
        {"wave": 2, "status": "Pending", "nodes": 5, "nodesDeployed": 0, "nodesFailed": 0, "nodesSkipped": 1},
    ]
    raw["stages"][4] |= {"status": "Running", "waves": waves, "nodesDeployed": 7, "nodesFailed": 1, "nodesSkipped": 1}
    raw["stages"][4]["startTime"] = "2026-11-24T05:31:54.000Z"
    raw["stages"][1] |= {"status": "Succeeded", "duration": "00:00:02.100"}
    return deployment_view(raw)


def node(name: str, status: str, **more: Any) -> NodeView:
    return node_view({"hostname": name, "wave": 1, "status": status, "direction": "forward", **more})


def test_six_stages_waves_counts_and_elapsed_time_in_80_columns() -> None:
    error = "GET /healthz answered 503 " * 20
    nodes = [node("qa-6", "Failed", error=error), node("qa-7", "Running", toVersion="1.1.0")]
    lines = picture(rolling(), nodes)
    text = "\n".join(lines)
    assert lines[0] == "payment-processor 1.1.0 to QA   Running   1m04s"
    for name in ("Build", "Security Scan", "Test", "Approval", "Deploy to QA", "Validation"):
        assert name in text
    assert "7/14 nodes, 1 failed, 1 skipped" in text
    assert "wave 2 of 3" in text
    assert "2/5, 1 failed" in text
    assert "qa-6  failed  GET /healthz answered 503" in text
    assert "qa-7  running nothing -> 1.1.0" in text
    assert "Ctrl-C detaches" in text
    assert max(map(len, lines)) <= 80


def test_what_it_waits_for_stands_there_whole() -> None:
    why = "deployment 0192f0c1-0000-7000-8000-000000000009 holds the lane of payment-processor in QA since 05:20"
    lines = picture(rolling(waitingFor=[{"kind": "lane", "text": why, "until": None}]))
    assert why.replace(" ", "") in "".join(lines).replace(" ", "")
    assert max(map(len, lines)) <= 80


def test_a_hundred_nodes_and_thirty_waves_stay_on_one_screen() -> None:
    raw = deployment("Running")
    raw["stages"][4] |= {
        "status": "Running",
        "waves": [
            {"wave": at, "status": "Succeeded" if at < 20 else "Running", "nodes": 9, "nodesDeployed": 1}
            for at in range(30)
        ],
    }
    lines = picture(deployment_view(raw), [node(f"node-{at}", "Running") for at in range(100)])
    assert len(lines) <= 22
    assert any("wave 21 of 30" in line for line in lines)
    assert any("and 95 more" in line for line in lines)


def test_nothing_is_drawn_while_nothing_changes() -> None:
    screen = Screen()
    display = screen.display()
    with display:
        display.state(rolling(), [])
        before = screen.written()
        assert b"payment-processor" in before
        for _ in range(50):
            display.tick()
            display.state(rolling(), [])
        assert screen.written() == before
        screen.now += timedelta(seconds=1)
        display.tick()
        assert screen.written() != before


def test_a_server_that_is_away_is_told_and_gone_again() -> None:
    screen = Screen()
    display = screen.display()
    with display:
        display.state(rolling(), [])
        display.connection("cannot reach http://x: connection refused; is it running?")
        assert b"connection refused; trying again" in screen.written()
        length = len(screen.written())
        display.connection(None)
        assert b"connection refused" not in screen.written()[length:]


def test_a_terminal_without_unicode_gets_none() -> None:
    screen = Screen(encoding="ascii")
    with screen.display() as display:
        display.state(rolling(), [node("qa-7", "Running")])
    assert b"####" in screen.written()


@pytest.mark.parametrize("evil", ["\x1b]0;title\x07", "\x1b[2J", "[red]markup[/red]", "a\nb"])
def test_texts_from_elsewhere_move_nothing(evil: str) -> None:
    lines = picture(rolling(), [node(f"qa{evil}", "Failed", error=f"bad {evil} error")])
    assert "\x1b" not in "".join(lines)
    assert len([line for line in lines if "qa" in line and "failed" in line and "bad" in line]) == 1


def test_the_last_picture_promises_nothing_any_more() -> None:
    screen = Screen()
    with screen.display() as display:
        display.state(rolling(), [])
        length = len(screen.written())
    assert b"Ctrl-C" not in screen.written()[length:].rpartition(b"payment-processor")[2]
