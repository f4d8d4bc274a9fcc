"""Filters of lists: what is sent, also for the pages after the first."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.unit.cli.harness import Api, answer, hotswap


def sent(request: httpx.Request) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in request.url.params.multi_items() if name != "limit")


@pytest.mark.parametrize(
    ("command", "path", "expected"),
    [
        (
            ("deployment", "list", "--status", "Running,Paused", "-e", "QA", "-e", "Staging", "-m", "web"),
            "/deployments",
            [("environment", "QA"), ("environment", "Staging"), ("module", "web"), ("status", "Running,Paused")],
        ),
        (
            ("node", "list", "--label", "role=web", "--label", "zone=a,b", "--status", "drained"),
            "/nodes",
            [("label", "role=web"), ("label", "zone=a,b"), ("status", "drained")],
        ),
        (("approval", "list", "-e", "Production"), "/approvals/pending", [("environment", "Production")]),
        (("deployment", "list"), "/deployments", []),
    ],
)
def test_every_value_is_sent_with_every_page(
    tmp_path: Path, command: tuple[str, ...], path: str, expected: list[tuple[str, str]]
) -> None:
    api = Api()

    def first(request: httpx.Request) -> httpx.Response:
        url = request.url.copy_add_param("cursor", "c")
        return answer([], headers={"Link": f'<{url.raw_path.decode()}>; rel="next"'})

    api.on("GET", path, first, answer([]))
    assert hotswap(*command, home=tmp_path, api=api) == 0
    assert [sent(each) for each in api.requests] == [expected, sorted([*expected, ("cursor", "c")])]
