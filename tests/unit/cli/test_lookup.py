"""Short names for deployments and nodes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import DEPLOYMENT, Api, answer, deployment, hotswap

OTHER = "0192f0c1-1111-7000-8000-000000000002"
OLDER = "0192f0c0-0000-7000-8000-000000000003"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.on("GET", "/deployments", lambda request: _page(request, [OTHER, DEPLOYMENT, OLDER]))
    api.on("GET", f"/deployments/{OLDER}", answer(deployment(executionId=OLDER)))
    api.on("GET", f"/deployments/{DEPLOYMENT}", answer(deployment()))
    return api


def _page(request: httpx.Request, ids: list[str]) -> httpx.Response:
    """Pages of one, to see that they are followed."""
    at = int(request.url.params.get("cursor", "0"))
    headers = {"Link": f'<https://elsewhere.example/x?cursor={at + 1}>; rel="next"'} if at + 1 < len(ids) else {}
    return answer([{"executionId": ids[at]}], headers=headers)


def test_a_deployment_by_the_beginning_of_its_id(tmp_path: Path, api: Api) -> None:
    assert hotswap("deployment", "show", "0192F0C0", home=tmp_path, api=api) == 0
    assert api.requests[-1].url.path.endswith(OLDER)
    assert {request.url.host for request in api.requests} == {"127.0.0.1"}


def test_the_search_ends_where_older_ones_cannot_match(tmp_path: Path, api: Api) -> None:
    assert hotswap("deployment", "show", "0192f0c2", home=tmp_path, api=api) == ExitCode.REFUSED
    assert len(api.requests) == 1


def test_an_ambiguous_beginning_names_what_it_could_be(
    tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hotswap("deployment", "show", "0192f0c1", home=tmp_path, api=api) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert DEPLOYMENT in err
    assert OTHER in err


def test_a_whole_id_is_not_searched_for(tmp_path: Path, api: Api) -> None:
    assert hotswap("deployment", "show", DEPLOYMENT.upper(), home=tmp_path, api=api) == 0
    assert len(api.requests) == 1


def test_a_node_by_its_name_or_id(tmp_path: Path) -> None:
    api = Api()
    node = {"nodeId": OLDER, "hostname": "qa-1", "environment": "QA", "status": "Healthy"}
    api.on("GET", "/nodes", answer([{"nodeId": OTHER, "hostname": "qa-10"}, node]))
    api.on("POST", f"/nodes/{OLDER}/drain", answer({**node, "drained": True}))
    assert hotswap("node", "drain", "QA-1", home=tmp_path, api=api) == 0
    assert hotswap("node", "drain", OLDER, home=tmp_path, api=api) == 0
    assert hotswap("node", "drain", "qa", home=tmp_path, api=api) == ExitCode.REFUSED
