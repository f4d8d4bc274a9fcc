"""The agents' listener: a real gunicorn with mutual TLS, and clients with certificates of nodes."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from flask.testing import FlaskClient

from agent import certificates
from agent.certificates import CertificateAuthority, IssuedCertificate
from app.orchestrator.context import Orchestrator
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of
from tests.integration.api.serving import serving


class Fleet:
    """Clients of the listener, each with a certificate."""

    def __init__(self, authority: CertificateAuthority, url: str, folder: Path) -> None:
        self._authority = authority
        self._url = url
        self._folder = folder
        self.ca = folder / "ca.pem"

    def context(self, issued: IssuedCertificate | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False
        if issued is not None:
            certificate, key = self._folder / f"{uuid4()}.pem", self._folder / f"{uuid4()}.key"
            issued.write(certificate, key)
            context.load_cert_chain(certificate, key)
        return context

    def client(self, issued: IssuedCertificate | None) -> httpx.Client:
        return httpx.Client(base_url=self._url, verify=self.context(issued), timeout=20)

    def connect(self) -> ssl.SSLSocket:
        """A connection of a node."""
        issued = certificates.issue_node_certificate(self._authority, str(uuid4()), "QA")
        port = int(self._url.rpartition(":")[2])
        return self.context(issued).wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))

    def node(self, node_id: UUID, environment: str = "QA") -> httpx.Client:
        return self.client(certificates.issue_node_certificate(self._authority, str(node_id), environment))


@pytest.fixture(scope="module")
def listener(
    authority: CertificateAuthority, environment: Headers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "ca.pem").write_bytes(authority.certificate)
    made = Fleet(authority, f"https://127.0.0.1:{environment['HOTSWAP_AGENT_PORT']}", folder)

    def answers() -> bool:
        with made.node(uuid4()) as probe:
            try:
                probe.get("/")
            except httpx.TransportError:
                return False
        return True

    with serving("agent_wsgi", "gunicorn_agents.py", environment, folder / "log", answers):
        yield made


@pytest.fixture
def fleet(listener: Fleet, orchestrator: Orchestrator) -> Fleet:
    """The listener, over a database that is as after the first start."""
    return listener


def heartbeat(sequence: int, **changes: Any) -> dict[str, Any]:
    return {
        "hostname": "qa-1",
        "address": "127.0.0.1:40123",
        "agentVersion": "0.1.0",
        "bootId": "b",
        "sequence": sequence,
        "labels": {"role": "web"},
        "resources": {"cpuCores": 2.0},
        "metrics": {"cpuUsage": 0.5, "memoryUsage": 0.25},
        "highestToken": 17,
        "modules": [module("payment-processor")],
        "somethingNewer": 1,
        **changes,
    }


def module(name: str, version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    return {
        "tenant": str(uuid4()),
        "module": name,
        "digest": "sha256:" + "a" * 64,
        "version": version,
        "status": "running",
        "endpoint": "http://127.0.0.1:41233",
        "fencingToken": 17,
        "restarts": 0,
        "metrics": {"requestsPerSecond": 12.0, "errorRate": 0.0, "latencyMs": 3.1},
        "standby": [{"digest": "sha256:" + "b" * 64, "version": "0.9.0", "status": "warm"}],
        **changes,
    }


def test_what_cannot_be_read_is_a_problem(fleet: Fleet) -> None:
    with fleet.node(uuid4()) as node:
        for status, answer in (
            (414, node.get("/agent/v1/artifacts/" + "x" * 5000)),
            (431, node.get("/agent/v1/artifacts/x", headers={"X": "x" * 20_000})),
        ):
            assert answer.status_code == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == status


def test_a_body_that_is_not_chunked_as_it_says_is_400(fleet: Fleet) -> None:
    head = "POST /agent/v1/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with fleet.connect() as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in received


def test_a_nodes_life(fleet: Fleet, client: FlaskClient, admin: Headers, orchestrator: Orchestrator) -> None:
    node_id = uuid4()

    def shown() -> Any:
        return client.get("/api/v1/clusters/QA", headers=admin).json

    with fleet.node(node_id) as node:

        def beat(sequence: int, **changes: Any) -> None:
            answer = node.post("/agent/v1/heartbeat", json=heartbeat(sequence, **changes))
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"interval": 2.0, "nodeLostAfter": 120.0, "void": [], "tokenFloors": []}

        beat(5)
        cluster = shown()
        assert (cluster["totalNodes"], cluster["healthyNodes"], cluster["unhealthyNodes"]) == (1, 1, 0)
        assert cluster["metrics"] == {
            "avgCpuUsage": 0.5,
            "avgMemoryUsage": 0.25,
            "avgLatency": 3.1,
            "errorRate": 0.0,
            "requestsPerSecond": 12.0,
        }
        (only,) = cluster["nodes"]
        assert only["nodeId"] == str(node_id) and only["labels"] == {"role": "web"} and only["status"] == "Healthy"
        assert [release["version"] for release in only["releases"]] == ["1.0.0"]
        assert [standby["version"] for standby in only["standby"]] == ["0.9.0"]

        beat(6, modules=[module("other-module")])
        assert [release["moduleName"] for release in shown()["nodes"][0]["releases"]] == ["other-module"]
        beat(6, modules=[module("third-module")])
        beat(5)
        assert [release["moduleName"] for release in shown()["nodes"][0]["releases"]] == ["other-module"]

        with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
            connection.execute("update node_releases set sequence = 100, version = '2.0.0'")
        beat(7, modules=[module("other-module"), module("second-module")])
        assert [release["version"] for release in shown()["nodes"][0]["releases"]] == ["2.0.0", "1.0.0"]
        beat(8, modules=[])
        assert [release["version"] for release in shown()["nodes"][0]["releases"]] == ["2.0.0"]

    url = f"/api/v1/nodes/{node_id}"
    assert client.post(f"{url}/drain", headers=admin).json["status"] == "Drained"  # type: ignore[index]
    assert client.post(f"{url}/undrain", headers=admin).json["drained"] is False  # type: ignore[index]
    busy = client.delete(url, headers=admin)
    assert busy.status_code == 409
    with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
        connection.execute("update nodes set last_heartbeat = now() - interval '1 hour'")
    assert client.get("/api/v1/clusters", headers=admin).json[1] == {  # type: ignore[index]
        "environment": "QA",
        "totalNodes": 1,
        "healthyNodes": 0,
        "isHealthy": False,
    }
    assert client.get(url, headers=admin).json["status"] == "Unavailable"  # type: ignore[index]
    assert client.delete(url, headers=admin).status_code == 204
    assert client.get(url, headers=admin).status_code == 404


def test_a_node_is_told_what_is_void_and_which_tokens_count(
    fleet: Fleet, publish: Publisher, client: FlaskClient, deployer: Headers, orchestrator: Orchestrator
) -> None:
    node_id, lost = uuid4(), uuid4()
    assert publish(archive()).status_code == 201
    submission = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    execution: Any = client.post("/api/v1/deployments", json=submission, headers=deployer).json
    with fleet.node(node_id) as node:
        assert node.post("/agent/v1/heartbeat", json=heartbeat(1)).status_code == 200
        with psycopg.connect(orchestrator.settings.database_url, autocommit=True) as connection:
            connection.execute(
                "insert into desired_releases (node_id, module_id, tenant_id, digest, version, fencing_token,"
                " deployment_id) select %s, id, tenant_id, 'sha256:x', '1.0.0', 42, %s from modules",
                (node_id, execution["executionId"]),
            )
            connection.execute(
                "insert into node_operations (id, tenant_id, deployment_id, position, node_id, node_name, wave,"
                " direction, status) select %s, tenant_id, id, 1, %s, 'qa-1', 0, 'forward', 'Lost' from deployments",
                (lost, node_id),
            )
        told = node.post("/agent/v1/heartbeat", json=heartbeat(2)).json()
    assert told["void"] == [str(lost)]
    (floor,) = told["tokenFloors"]
    assert (floor["module"], floor["fencingToken"]) == ("payment-processor", 42)
    placed: Any = client.get("/api/v1/status", headers=deployer).json
    assert [(row["environment"], row["version"], len(row["pending"]), len(row["drift"])) for row in placed] == [
        ("QA", "1.0.0", 1, 1)
    ]


def test_who_may_speak(fleet: Fleet, authority: CertificateAuthority) -> None:
    with fleet.client(None) as nobody, pytest.raises(httpx.TransportError):
        nobody.post("/agent/v1/heartbeat", json=heartbeat(1))
    stranger = certificates.issue_node_certificate(certificates.make_ca(), str(uuid4()), "QA")
    with fleet.client(stranger) as unknown, pytest.raises(httpx.TransportError):
        unknown.post("/agent/v1/heartbeat", json=heartbeat(1))
    with fleet.client(certificates.issue_orchestrator_certificate(authority)) as orchestrator:
        assert orchestrator.post("/agent/v1/heartbeat", json=heartbeat(1)).status_code == 403
        assert orchestrator.get("/agent/v1/artifacts/sha256:" + "a" * 64).status_code == 403
    with fleet.node(uuid4(), "Nowhere") as lost:
        assert lost.post("/agent/v1/heartbeat", json=heartbeat(1)).status_code == 403
    with fleet.node(uuid4()) as first, fleet.node(uuid4()) as second:
        assert first.post("/agent/v1/heartbeat", json=heartbeat(1)).status_code == 200
        taken = second.post("/agent/v1/heartbeat", json=heartbeat(1))
        assert taken.status_code == 409 and "qa-1" in taken.json()["error"]
        assert first.post("/agent/v1/heartbeat", json=heartbeat(2)).status_code == 200
        for path in ("/api/v1/deployments", "/health", "/metrics"):
            assert first.get(path).status_code == 404


def test_bad_heartbeats_are_400(fleet: Fleet) -> None:
    with fleet.node(uuid4()) as node:
        bad: list[Any] = [
            {},
            [],
            heartbeat(-1),
            heartbeat(2**70),
            heartbeat(1, hostname="x" * 10_000),
            heartbeat(1, hostname="a\x00"),
            heartbeat(1, modules=[{}]),
            heartbeat(1, modules="x"),
            heartbeat(1, labels={"a": 1}),
            heartbeat(1, metrics={"a": "\ud800"}),
        ]
        for body in bad:
            answer = node.post(
                "/agent/v1/heartbeat", content=json.dumps(body), headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400, body
            assert answer.json()["errors"]


def test_artifacts_are_served_by_digest_and_range(fleet: Fleet, publish: Publisher) -> None:
    content = archive()
    digest = publish(content).json["digest"]  # type: ignore[index]
    with fleet.node(uuid4()) as node:
        whole = node.get(f"/agent/v1/artifacts/{digest}")
        assert whole.content == content and whole.headers["ETag"] == f'"{digest}"'
        rest = node.get(f"/agent/v1/artifacts/{digest}", headers={"Range": "bytes=100-"})
        assert rest.status_code == 206 and rest.content == content[100:]
        for wrong in ("sha256:" + "0" * 64, "sha256:..%2f..%2fetc%2fpasswd", "x"):
            assert node.get(f"/agent/v1/artifacts/{wrong}").status_code == 404


def test_the_routes_are_not_on_the_public_port(client: FlaskClient) -> None:
    answer = client.post("/agent/v1/heartbeat", json=heartbeat(1))
    assert answer.status_code == 404
    problem_of(answer)
