"""Prometheus text of modules, and the three figures of a heartbeat."""

from __future__ import annotations

from agent.exposition import Totals, rates, samples, totals
from agent.metrics import Counters

TEXT = """
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{status="200",path="/a b"} 90
http_requests_total{path="x\\"y",status="503"} 6 1700000000000
http_requests_total{code="500"} 4
http_requests_total{code="404"} NaN
http_request_duration_seconds_bucket{le="0.1"} 70
http_request_duration_seconds_sum 2.5
http_request_duration_seconds_count 100
process_start_time_seconds 1.7e9
broken{ 1
empty
http_requests_total{status="200"} many
"""


def test_totals() -> None:
    assert totals(TEXT, 3.0) == Totals(at=3.0, requests=100, errors=10, timed=100, seconds=2.5)


def test_totals_as_a_heartbeat_carries_them() -> None:
    assert Totals(3.0, 100, 10, 90, 2.50000049).as_json() == {
        "requests": 100, "errors": 10, "timed": 90, "seconds": 2.5
    }  # fmt: skip


def test_sums_beyond_all_numbers_are_none() -> None:
    """No JSON has them, and the heartbeat of the whole node would be refused for one odd module."""
    assert totals("http_requests_total 1e308\nhttp_requests_total 1e308\n", 1.0) is None


def test_without_the_known_names_there_are_none() -> None:
    assert totals("process_cpu_seconds_total 3\n", 1.0) is None
    assert totals("", 1.0) is None


def test_labels_with_quotes_and_spaces() -> None:
    labels = [sample.labels for sample in samples(TEXT) if sample.name == "http_requests_total"]
    assert labels[0] == {"status": "200", "path": "/a b"}
    assert labels[1]["status"] == "503"


def test_rates_between_two_looks() -> None:
    found = rates(Totals(10, 100, 10, 100, 2.5), Totals(15, 150, 11, 140, 2.9))
    assert found is not None
    assert found.as_json() == {"requestsPerSecond": 10.0, "errorRate": 0.02, "latencyMs": 10.0}


def test_without_requests_nothing_is_divided_by_zero() -> None:
    found = rates(Totals(10, 100, 10, 100, 2.5), Totals(15, 100, 10, 100, 2.5))
    assert found is not None
    assert found.as_json() == {"requestsPerSecond": 0.0, "errorRate": 0.0, "latencyMs": 0.0}


def test_durations_alone_count_requests() -> None:
    found = rates(Totals(0, 0, 0, 10, 1.0), Totals(2, 0, 0, 30, 2.0))
    assert found is not None and found.requests_per_second == 10.0 and found.latency_ms == 50.0


def test_counters_that_started_anew_give_no_rates() -> None:
    assert rates(Totals(10, 100, 10, 100, 2.5), Totals(15, 3, 0, 3, 0.1)) is None
    assert rates(Totals(10, 100, 10, 100, 2.5), Totals(10, 100, 10, 100, 2.5)) is None


def test_the_agents_own_counters() -> None:
    counters = Counters()
    counters.stale("agent", "stale")
    counters.stale("agent", "stale")
    counters.stale("agent", 'vo"id')
    counters.restart("web")
    counters.operation("activate", "failed")
    text = counters.text({"hotswap_agent_ready": 1.0})
    assert 'hotswap_stale_commands_total{where="agent",reason="stale"} 2\n' in text
    assert 'reason="vo\\"id"} 1' in text
    assert text.count("# TYPE hotswap_stale_commands_total counter") == 1
    assert "hotswap_agent_ready 1.0" in text
    assert counters.value("hotswap_stale_commands_total", reason="stale") == 2
    assert counters.value("hotswap_stale_commands_total") == 3
