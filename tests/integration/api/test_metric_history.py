"""The history of metrics: from heartbeats to points, over restarts of modules, kept in bounds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask.testing import FlaskClient

from app.orchestrator import heartbeats, metric_history
from app.orchestrator.context import Orchestrator
from app.orchestrator.heartbeats import Heartbeat, ModuleReport
from tests.integration.api.conftest import Headers, problem_of

HISTORY = "/api/v1/clusters/QA/metrics"
NONE: dict[str, Any] = {"cpuUsage": None, "memoryUsage": None, "latency": None, "errorRate": None}


def counted(requests: float, errors: float = 0, timed: float | None = None, seconds: float = 0) -> dict[str, float]:
    return {
        "requests": requests, "errors": errors, "timed": requests if timed is None else timed, "seconds": seconds
    }  # fmt: skip


@dataclass
class Node:
    """Beats, each leaving a sample: the interval is shorter than the time between two."""

    orchestrator: Orchestrator
    identity: UUID
    sequence: int = 0
    last: Heartbeat = field(init=False)

    def beat(self, metrics: Any = None, **modules: Any) -> None:
        self.sequence += 1
        reports = [
            ModuleReport(name, digest, "1.0.0", "running", None, 1, [], None, totals)
            for name, (digest, totals) in modules.items()
        ]
        self.last = Heartbeat(
            node_id=self.identity,
            environment="qa",
            hostname=str(self.identity),
            address="127.0.0.1:1",
            agent_version="0",
            boot_id="b",
            sequence=self.sequence,
            labels={},
            resources={},
            metrics=metrics if metrics is not None else {"cpuUsage": 0.5, "memoryUsage": 0.25},
            highest_token=0,
            modules=reports,
        )
        heartbeats.beat(self.orchestrator, self.last)

    def growth(self) -> list[tuple[float, float, float, float]]:
        """Of every sample, in order."""
        with psycopg.connect(self.orchestrator.settings.database_url) as connection:
            return connection.execute(
                "select requests, errors, timed, round(seconds::numeric, 6)::float8 from node_samples"
                " where node_id = %s order by at",
                (self.identity,),
            ).fetchall()


def sampling(orchestrator: Orchestrator, interval: float) -> Orchestrator:
    settings = orchestrator.settings.model_copy(update={"metrics_sample_interval": interval})
    return replace(orchestrator, settings=settings)


@pytest.fixture
def node(orchestrator: Orchestrator) -> Node:
    return Node(sampling(orchestrator, 0.000_001), uuid4())


def test_counters_survive_restarts_swaps_and_gaps(node: Node) -> None:
    node.beat(web=("one", counted(1000, 10, 1000, 50)))
    node.beat(web=("one", counted(1010, 12, 1010, 51)))
    node.beat(web=("one", counted(4, 1, 4, 0.25)))  # its process began anew
    node.beat(web=("one", counted(5, 1, 5, 0.25)))
    node.beat(web=("two", counted(9, 0, 9, 1)))  # another release, with more than the last one had
    node.beat(web=("two", None))  # the agent could not ask it
    node.beat(web=("two", counted(20, 0, 20, 2)), other=("x", counted(10**6)))
    node.beat(other=("x", counted(10**6 + 1)))
    node.beat(web=("two", counted(30, 0, 30, 3)), other=("x", counted(10**6 + 1)))
    assert node.growth() == [
        (0, 0, 0, 0),  # counted for nobody knows how long
        (10, 2, 10, 1),
        (4, 1, 4, 0.25),
        (1, 0, 1, 0),
        (9, 0, 9, 1),
        (0, 0, 0, 0),
        (11, 0, 11, 1),
        (1, 0, 1, 0),
        (0, 0, 0, 0),  # it was gone: seen for the first time again
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"requests": "many"}, {"requests": -1}, {"requests": True}, {"requests": 1e16}, {"requests": None}, {"x": 1},
        {"requests": [1]}, counted(1) | {"seconds": {}},
    ],
)  # fmt: skip
def test_odd_figures_make_no_node_unheard(node: Node, odd: Any) -> None:
    node.beat(web=("one", counted(1)))
    node.beat({"cpuUsage": "high", "memoryUsage": -3}, web=("one", odd))
    node.beat({"cpuUsage": 10**400, "memoryUsage": [0.5]}, web=("one", counted(3)))
    assert [row[0] for row in node.growth()] == [0, 0, 2]


def test_at_most_one_sample_in_each_interval(orchestrator: Orchestrator) -> None:
    node = Node(sampling(orchestrator, 3600), uuid4())
    for number in range(20):
        node.beat(web=("one", counted(number)))
    # Twenty beats take no hour, and touch two of them at most.
    assert 1 <= len(node.growth()) <= 2


def test_each_node_has_its_turn_once_in_an_interval() -> None:
    now = [100.0]
    turns = heartbeats.Turns(15, lambda: now[0])
    one, two = uuid4(), uuid4()
    assert [turns.take(node) for node in (one, one, two, one, two)] == [True, False, True, False, False]
    now[0] = 104.9
    assert not turns.take(one)
    now[0] = 105.0
    assert turns.take(one) and turns.take(two) and not turns.take(one)


def test_a_beat_without_a_turn_leaves_none(node: Node) -> None:
    node.beat(web=("one", counted(5)))
    node.sequence += 1
    assert heartbeats.beat(node.orchestrator, replace(node.last, sequence=node.sequence), sample=False).interval > 0
    assert len(node.growth()) == 1


def test_a_late_heartbeat_leaves_no_sample(node: Node) -> None:
    node.beat(web=("one", counted(5)))
    node.sequence = 0
    node.beat(web=("one", counted(1)))
    assert len(node.growth()) == 1


def test_points_are_means_and_shares_of_all_nodes(node: Node, client: FlaskClient, viewer: Headers) -> None:
    other = Node(node.orchestrator, uuid4())
    for beating, cpu in ((node, 0.2), (other, 0.6)):
        beating.beat({"cpuUsage": cpu, "memoryUsage": cpu / 2}, web=("one", counted(0)))
    node.beat({"cpuUsage": 0.2}, web=("one", counted(30, 3, 30, 0.3)))
    other.beat({"cpuUsage": 0.6}, web=("one", counted(10, 0, 10, 0.9)))
    answer: Any = client.get(f"{HISTORY}?interval=1h", headers=viewer).json
    assert (answer["environment"], answer["interval"]) == ("QA", "01:00:00.000")
    told = [point for point in answer["dataPoints"] if point["cpuUsage"] is not None]
    assert sum(point["cpuUsage"] for point in told) / len(told) == pytest.approx(0.4)
    if len(told) == 1:  # the hour did not end in between
        assert told[0]["memoryUsage"] == pytest.approx(0.2)
        assert told[0]["errorRate"] == pytest.approx(3 / 40) and told[0]["latency"] == pytest.approx(1.2 / 40 * 1000)


def test_what_nobody_told_is_null_and_never_zero(node: Node, client: FlaskClient, viewer: Headers) -> None:
    node.beat({})
    points: Any = client.get(HISTORY, headers=viewer).json["dataPoints"]  # type: ignore[index]
    assert len(points) in (60, 61)
    assert all({**point, "timestamp": None} == {"timestamp": None, **NONE} for point in points)
    assert points[0]["timestamp"].endswith(":00.000Z")
    stamps = [datetime.fromisoformat(point["timestamp"]) for point in points]
    assert all(after - before == timedelta(minutes=1) for before, after in pairwise(stamps))
    # A node that is idle tells of itself, and nothing of requests that nobody made.
    node.beat(web=("one", counted(7)))
    node.beat(web=("one", counted(7)))
    last: Any = client.get(HISTORY, headers=viewer).json["dataPoints"]  # type: ignore[index]
    told = [point for point in last if point["cpuUsage"] is not None]
    assert told and all(point["errorRate"] is None and point["latency"] is None for point in told)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z&interval=0s", {"from", "interval"}),
        ("from=yesterday&to=1&interval=fast", {"from", "to", "interval"}),
        ("from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&interval=1m", {"interval"}),
        ("since=1", {"since"}),
    ],
)
def test_bad_windows_name_every_field(client: FlaskClient, viewer: Headers, query: str, fields: set[str]) -> None:
    answer = client.get(f"{HISTORY}?{query}", headers=viewer)
    assert answer.status_code == 400
    assert problem_of(answer)["errors"].keys() == fields


def test_an_unknown_cluster_is_404(client: FlaskClient, viewer: Headers) -> None:
    answer = client.get(HISTORY.replace("QA", "Mars"), headers=viewer)
    assert answer.status_code == 404
    problem_of(answer)


def test_old_samples_are_summed_up_and_older_ones_forgotten(
    orchestrator: Orchestrator, client: FlaskClient, viewer: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    old, ancient = noon - timedelta(hours=5), noon - timedelta(days=8)

    def insert(connection: Any, start: datetime) -> None:
        """Two nodes for three minutes, four samples a minute."""
        connection.execute(
            "insert into node_samples (node_id, at, tenant_id, environment_id, cpu, memory, requests, errors, timed,"
            " seconds, totals)"
            " select n.id, %s + s * interval '15 s', e.tenant_id, e.id, n.cpu, null, 10, 1, 10, 0.5, '{}'"
            " from generate_series(0, 11) as s, environments e,"
            " (values (gen_random_uuid(), 0.25), (gen_random_uuid(), 0.75)) as n (id, cpu) where e.name = 'QA'",
            (start,),
        )

    def rows(connection: Any) -> tuple[int, int]:
        counts = "select (select count(*) from node_samples), (select count(*) from cluster_samples)"
        found: tuple[int, int] = connection.execute(counts).fetchone()
        return found

    def seen() -> list[Any]:
        query = f"from={old.isoformat().replace('+00:00', 'Z')}&to={(old + timedelta(minutes=4)).isoformat()[:19]}Z"
        answer = client.get(f"{HISTORY}?{query}", headers=viewer)
        assert answer.status_code == 200, answer.text
        points: list[Any] = answer.json["dataPoints"]  # type: ignore[index]
        return points

    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        insert(connection, ancient)
        insert(connection, old)
        insert(connection, datetime.now(UTC) - timedelta(minutes=10))
        before = seen()
        assert [point["cpuUsage"] for point in before] == [0.5, 0.5, 0.5, None]
        assert before[0]["errorRate"] == 0.1 and before[0]["latency"] == 50 and before[0]["memoryUsage"] is None
        # In batches that end in the middle of a minute, and one tick that is cut short and goes on with the next.
        monkeypatch.setattr(metric_history, "_BATCH", 7)
        monkeypatch.setattr(metric_history, "_MOST_BATCHES", 3)
        assert metric_history.keep(orchestrator) == 21 + 3
        while metric_history.keep(orchestrator):
            pass
        assert rows(connection) == (24, 3)
        assert seen() == before
        assert metric_history.keep(orchestrator) == 0


def test_ticks_that_run_at_once_count_nothing_twice(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_history, "_BATCH", 50)
    monkeypatch.setattr(metric_history, "_MOST_BATCHES", 100)
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into node_samples (node_id, at, tenant_id, environment_id, cpu, memory, requests, errors, timed,"
            " seconds, totals)"
            " select gen_random_uuid(), hotswap_now() - interval '3 hours' - s % 7 * interval '1 minute', e.tenant_id,"
            " e.id, 0.5, null, 1, 0, 0, 0, '{}' from generate_series(1, 500) as s, environments e"
        )
        gone: list[int] = []
        threads = [threading.Thread(target=lambda: gone.append(metric_history.keep(orchestrator))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while left := metric_history.keep(orchestrator):  # what another had in hand was left to it
            gone.append(left)
        sums = connection.execute("select sum(requests), sum(cpu), sum(cpu_samples) from cluster_samples").fetchone()
        assert sums == (2000, 1000, 2000)
    assert sum(gone) == 2000


def test_what_is_shown_of_a_cluster_now_comes_from_heartbeats(
    node: Node, client: FlaskClient, viewer: Headers
) -> None:
    metrics: Any = client.get("/api/v1/clusters/QA", headers=viewer).json["metrics"]  # type: ignore[index]
    assert set(metrics.values()) == {None}
    node.beat({"cpuUsage": 0.2, "memoryUsage": 0.4})
    with psycopg.connect(node.orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into node_releases (node_id, module_name, tenant_id, status, sequence, metrics)"
            " select id, 'web', tenant_id, 'running', 1, %s from nodes",
            ('{"requestsPerSecond": 10, "errorRate": 0.5, "latencyMs": 3}',),
        )
    metrics = client.get("/api/v1/clusters/QA", headers=viewer).json["metrics"]  # type: ignore[index]
    assert metrics == {
        "avgCpuUsage": 0.2, "avgMemoryUsage": 0.4, "avgLatency": 3.0, "errorRate": 0.5, "requestsPerSecond": 10.0
    }  # fmt: skip
