"""Filters of lists: several values of each, in any case, together with pages; and what a wrong one gets."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import psycopg
import pytest
from flask.testing import FlaskClient

from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of
from tests.integration.api.test_nodes import add_nodes


class Lists:
    """Reads every page of a list, two rows at a time."""

    def __init__(self, client: FlaskClient, headers: Headers) -> None:
        self.client, self.headers = client, headers

    def __call__(self, path: str, field: str) -> list[Any]:
        seen: list[Any] = []
        url: str | None = f"/api/v1{path}{'&' if '?' in path else '?'}limit=2"
        while url:
            answer = self.client.get(url, headers=self.headers)
            assert answer.status_code == 200, answer.text
            page: Any = answer.json
            assert len(page) <= 2
            seen += [row[field] for row in page]
            link = answer.headers.get("Link")
            url = link[1 : link.index(">")] if link else None
        return seen

    def assert_bound(self, path: str, filters: str, *others: str) -> None:
        """The cursor of a page goes on with that list and with no other: it would begin in its middle, in silence."""
        link = self.client.get(f"/api/v1{path}?{filters}&limit=1", headers=self.headers).headers["Link"]
        cursor = dict(parse_qsl(urlsplit(link[1 : link.index(">")]).query))["cursor"]
        same = self.client.get(f"/api/v1{path}?limit=7&{filters}&cursor={cursor}", headers=self.headers)
        assert same.status_code == 200, same.text
        for other in others:
            answer = self.client.get(f"/api/v1{path}?{other}&cursor={cursor}", headers=self.headers)
            assert answer.status_code == 400, other
            assert "other filters" in problem_of(answer)["errors"]["cursor"][0]


@pytest.fixture
def lists(client: FlaskClient, viewer: Headers) -> Lists:
    return Lists(client, viewer)


def sql(orchestrator: Orchestrator, query: str, *values: Any) -> None:
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute(query.encode(), values)


def test_deployments(publish: Publisher, log_in: Any, orchestrator: Orchestrator, lists: Lists) -> None:
    for name in ("web", "api"):
        assert publish(archive(name), name=name).status_code == 201
    ids: list[str] = []
    for number in range(8):
        body = {
            "moduleName": ("web", "api")[number % 2],
            "version": "1.0.0",
            "targetEnvironment": ("QA", "Staging")[number // 2 % 2],
            "force": True,
        }
        headers = log_in(("admin", "deployer")[number // 4])
        ids.append(lists.client.post("/api/v1/deployments", json=body, headers=headers).json["executionId"])  # type: ignore[index]
    for number, status in ((1, "Failed"), (2, "Succeeded"), (5, "Failed"), (6, "Running")):
        sql(orchestrator, "update deployments set status = %s where id = %s", status, ids[number])

    def found(query: str) -> list[int]:
        return [ids.index(each) for each in lists(f"/deployments?{query}", "executionId")]

    assert found("") == [7, 6, 5, 4, 3, 2, 1, 0]
    assert found("status=failed") == [5, 1]
    assert found("status=FAILED,succeeded") == found("status=failed&status=Succeeded") == [5, 2, 1]
    assert found("status=running,queued") == [7, 6, 4, 3, 0]
    assert found("status=queued&module=web") == [4, 0]
    assert found("status=queued,failed&module=web,api&environment=staging&requester=deployer") == [7]
    assert found("module=web,api,none") == [7, 6, 5, 4, 3, 2, 1, 0]
    assert found("environment=qa,STAGING&module=api") == [7, 5, 3, 1]
    assert found("requester=admin&requester=deployer&requester=nobody&status=failed") == [5, 1]
    for nothing in ("environment=Mars", "module=none&status=failed", "environment=Mars,QA&module=x"):
        assert found(nothing) == []

    lists.assert_bound("/deployments", "status=queued", "status=failed", "", "status=queued,failed", "module=web")
    lists.assert_bound("/deployments", "module=web&environment=QA", "module=web", "module=QA&environment=web")
    for query, said in (
        ("status=Lost", "must be one of Queued, Scheduled, Running"),
        ("status=Running,Lost", "must be one of Queued"),
        ("status=", "must be one of Queued"),
        ("module=,", "Length"),
        ("module=" + ",".join(map(str, range(21))), "20"),
    ):
        answer = lists.client.get(f"/api/v1/deployments?{query}", headers=lists.headers)
        assert answer.status_code == 400, query
        errors = problem_of(answer)["errors"]
        assert list(errors) == [query.partition("=")[0]] and said in errors[query.partition("=")[0]][0]


def test_modules_and_releases(publish: Publisher, lists: Lists) -> None:
    for name in ("web", "web-shop", "webber", "api"):
        assert publish(archive(name), name=name).status_code == 201
    assert lists("/modules?name=web", "name") == ["webber", "web-shop", "web"]
    assert lists("/modules?name=WEB-", "name") == ["web-shop"]
    lists.assert_bound("/modules", "name=web", "name=we", "")
    assert lists("/modules?name=eb", "name") == lists("/modules?name=%25", "name") == []

    published = (("1.4.0", "abc1", "main"), ("1.40.0", "abc2", "main"), ("2.0.0-rc.1", "f00", "next"))
    for version, commit, branch in published:
        metadata = f'{{"commit": "{commit}", "branch": "{branch}"}}'
        assert publish(archive("web", version), name="web", metadata=metadata).status_code == 201
    assert lists("/modules/web/releases?version=1.4", "version") == ["1.40.0", "1.4.0"]
    assert lists("/modules/web/releases?version=1.4.", "version") == ["1.4.0"]
    assert lists("/modules/web/releases?branch=main", "version") == ["1.40.0", "1.4.0"]
    assert lists("/modules/web/releases?branch=mai", "version") == []
    assert lists("/modules/web/releases?commit=abc&branch=main&version=1.40", "version") == ["1.40.0"]
    assert lists("/modules/web/releases?commit=f", "version") == ["2.0.0-rc.1"]
    lists.assert_bound("/modules/web/releases", "branch=main", "commit=main", "version=1&branch=main")


def test_nodes(orchestrator: Orchestrator, lists: Lists) -> None:
    add_nodes(orchestrator, 6)
    for number, changes in enumerate(
        (
            "labels = '{\"role\": \"web\", \"zone\": \"a\"}'",
            "labels = '{\"role\": \"web\", \"zone\": \"b,c=d\"}', drained = true",
            "labels = '{\"role\": \"db\"}', last_heartbeat = hotswap_now() - interval '1 minute'",
            "drained = true, last_heartbeat = hotswap_now() - interval '1 minute'",
            "environment_id = (select id from environments where name = 'Staging')",
        )
    ):
        sql(orchestrator, f"update nodes set {changes} where hostname = 'qa-000{number}'")

    def found(query: str) -> list[int]:
        return sorted(int(name[-1]) for name in lists(f"/nodes?{query}", "hostname"))

    assert found("status=healthy") == [0, 4, 5]
    assert found("status=DRAINED") == [1]
    assert found("status=unavailable&status=drained") == [1, 2, 3]
    assert found("environment=qa&status=healthy") == [0, 5]
    assert found("environment=qa,Staging,Mars&status=Healthy,Unavailable") == [0, 2, 3, 4, 5]
    assert found("environment=Mars") == []
    assert found("label=role=web") == [0, 1]
    assert found("label=role=web&label=zone=a") == [0]
    assert found(f"label={quote('zone=b,c=d')}") == [1]
    assert found("label=role=w") == []
    lists.assert_bound("/nodes", "label=role=web", "label=role=db", "environment=QA", "")
    for query in ("status=Lost", "label=role", "label==x", "label=", "label=" + "k" * 101 + "=v"):
        answer = lists.client.get(f"/api/v1/nodes?{query}", headers=lists.headers)
        assert answer.status_code == 400, query
        assert problem_of(answer)["errors"].keys() == {query.partition("=")[0]}


def test_approvals(publish: Publisher, deployer: Headers, orchestrator: Orchestrator, lists: Lists) -> None:
    assert publish(archive()).status_code == 201
    ids = []
    for environment in ("QA", "Staging", "QA", "Production"):
        body = {
            "moduleName": "payment-processor",
            "version": "1.0.0",
            "targetEnvironment": environment,
            "requireApproval": True,
        }
        ids.append(lists.client.post("/api/v1/deployments", json=body, headers=deployer).json["executionId"])  # type: ignore[index]
    sql(
        orchestrator,
        "update stages set waiting = 'approval', status = 'Waiting', approval ="
        " jsonb_build_object('required', 1, 'given', '[]'::jsonb, 'roles', '[]'::jsonb, 'until', hotswap_now())"
        " where kind = 'Approval'",
    )

    def found(query: str) -> list[int]:
        return [ids.index(each) for each in lists(f"/approvals/pending?{query}", "deploymentExecutionId")]

    assert found("") == [3, 2, 1, 0]
    assert found("environment=qa") == [2, 0]
    assert found("environment=qa&environment=production") == [3, 2, 0]
    assert found("environment=Mars") == []
    lists.assert_bound("/approvals/pending", "environment=qa", "environment=staging", "")
