"""What a watcher sees: every event once, in order, over any number of broken connections; and live figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.e2e.api import Api, Json, stage
from tests.e2e.probe_module import Manner, ProbeModule
from tests.e2e.waiting import until


def read(api: Api, execution_id: str, after: int, most: int) -> list[Json]:
    """At most so many events, then hang up."""
    seen: list[Json] = []
    with api.stream(execution_id, after) as events:
        for event in events:
            seen.append(event)
            if len(seen) == most:
                break
    return seen


def test_a_watch_resumes_without_a_gap_or_a_repeat(module: ProbeModule, api: Api) -> None:
    module.served("QA")
    version = module.release(Manner.GATED)
    execution_id = module.deploy(version, "QA")
    seen = read(api, execution_id, 0, most=3)  # live: the rollout cannot have ended
    assert [event["id"] for event in seen] == [1, 2, 3] and seen[0]["type"] == "deployment.submitted"
    module.open_gates(version, *api.nodes("QA"))
    while more := read(api, execution_id, seen[-1]["id"], most=4):
        seen += more
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "deployment.succeeded" and api.deployment(execution_id)["status"] == "Succeeded"
    assert len([event for event in seen if event["type"] == "operation.succeeded"]) == 5
    assert list(api.events(execution_id)) == seen
    assert api.get(f"/deployments/{execution_id}/events", limit=200) == seen[::-1]
    after_the_end = api.call(
        "GET",
        f"/deployments/{execution_id}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(seen[-1]["id"])},
    )
    assert after_the_end.status_code == 204


def _equals(figure: Callable[[], int], value: int) -> bool:
    return figure() == value


def test_counts_and_waiting_are_live(module: ProbeModule, api: Api) -> None:
    module.served("QA")
    version = module.release(Manner.GATED)
    first = module.deploy(version, "QA")
    second = module.deploy(module.release(), "QA")

    def waits() -> Json | None:
        return next((each for each in api.deployment(second)["waitingFor"] if each["kind"] == "lane"), None)

    waiting = until(waits, "the second deployment says what it waits for")
    assert waiting["blockedBy"] == first and version in waiting["text"]
    opened: list[str] = []

    def deployed() -> int:
        return int(stage(api.deployment(first), "Deploy")["nodesDeployed"])

    for count in range(1, 6):
        operations = until(
            lambda: [each for each in api.operations(first) if each["status"] == "Running"], "an operation runs"
        )
        opened.append(operations[0]["hostname"])
        module.open_gates(version, opened[-1])
        # Counted in the transaction that ended the operation; the next node cannot end before its gate opens.
        until(partial(_equals, deployed, count), f"{count} deployed")
    assert sorted(opened) == sorted(api.nodes("QA"))
    assert [wave["nodes"] for wave in stage(api.finished(first), "Deploy")["waves"]] == [2, 2, 1]
    assert api.finished(second)["status"] == "Succeeded"


def test_at_the_end_everything_agrees_at_once(module: ProbeModule, api: Api) -> None:
    """Asked as soon as the last event is there, for a rollout and for one that went back."""
    good = module.served("QA")
    for manner, status in ((Manner.GOOD, "Succeeded"), (Manner.EXITS, "RolledBack"), (Manner.GOOD, "Succeeded")):
        version = module.release(manner)
        execution_id = module.deploy(version, "QA")
        for event in api.events(execution_id):
            if event["type"] in ("deployment.succeeded", "deployment.rolledBack"):
                break
        recorded, rows, nodes = module.recorded("QA"), api.get("/status"), api.nodes("QA")
        assert api.deployment(execution_id)["status"] == status
        good = version if status == "Succeeded" else good
        assert recorded == dict.fromkeys(nodes, good)
        (row,) = [row for row in rows if row["moduleName"] == module.name and row["environment"] == "QA"]
        assert (row["version"], row["pending"], row["drift"]) == (good, [], [])
        for node in nodes.values():
            releases = api.get(f"/nodes/{node['nodeId']}")["releases"]
            (release,) = [release for release in releases if release["moduleName"] == module.name]
            assert (release["version"], release["status"]) == (good, "running")
