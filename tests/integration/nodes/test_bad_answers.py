"""Agents that answer badly over a real connection: in drops, without an end, with no answer, or as somebody else."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from agent.certificates import CertificateAuthority, issue_node_certificate, issue_orchestrator_certificate, make_ca
from agent.config import TlsFiles
from agent.tls import server_context
from app.infrastructure import nodes
from app.infrastructure.nodes import NodeAddress, NodeRefused, Nodes, NodeUnreachable
from config.settings import Settings

NODE = UUID("01900000-0000-7000-8000-0000000000aa")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Behaviour = Callable[[ssl.SSLSocket], None]
DRIVERS = re.compile(r"Error|Pool|0x|\(|_ssl")  # what is in the driver's own words, and in none of ours


class _Settings:
    """The settings that the client reads."""

    agent_timeout = 1.0
    agent_connect_timeout = 1.0

    def __init__(self, folder: Path, authority: CertificateAuthority) -> None:
        self.tls_ca, self.tls_certificate, self.tls_key = folder / "ca.pem", folder / "o.pem", folder / "o.key"
        self.tls_ca.write_bytes(authority.certificate)
        issue_orchestrator_certificate(authority).write(self.tls_certificate, self.tls_key)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return make_ca()


@pytest.fixture
def client(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Nodes]:
    made = Nodes(cast(Settings, _Settings(tmp_path, authority)))
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Callable[[Behaviour], NodeAddress]]:
    """Starts an agent that takes one connection and behaves as it is told."""
    files = TlsFiles(tmp_path / "ca-of-node.pem", tmp_path / "n.pem", tmp_path / "n.key")
    files.ca.write_bytes(authority.certificate)
    issue_node_certificate(authority, str(NODE), "QA").write(files.certificate, files.key)
    listeners = []

    def start(behaviour: Behaviour) -> NodeAddress:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            try:
                taken, _ = listener.accept()
                with server_context(files).wrap_socket(taken, server_side=True) as connection:
                    _read_request(connection)
                    behaviour(connection)
            except OSError:
                return  # the client has gone, as it should

        threading.Thread(target=serve, daemon=True).start()
        return NodeAddress(NODE, f"127.0.0.1:{listener.getsockname()[1]}")

    yield start
    for listener in listeners:
        listener.close()


def _read_request(connection: ssl.SSLSocket) -> None:
    """To its end: a connection that is closed with something unread in it takes what was answered with it."""
    head, _, body = _until(connection, lambda got: b"\r\n\r\n" in got).partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    _until(connection, lambda got: len(got) >= missing)


def _until(connection: ssl.SSLSocket, enough: Callable[[bytes], bool]) -> bytes:
    got = b""
    while not enough(got):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError("the client has gone")
        got += piece
    return got


def in_drops(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + b"Content-Length: 10000\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.1)


def without_an_end(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + b"Connection: close\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b" " * 65536)


def saying(content: bytes, status: bytes = b"200 OK") -> Behaviour:
    head = HEAD.replace(b"200 OK", status) + b"Content-Length: %d\r\n\r\n" % len(content)
    return lambda connection: connection.sendall(head + content)


def test_an_answer_in_drops_ends_in_time(client: Nodes, agent: Callable[[Behaviour], NodeAddress]) -> None:
    begun = time.monotonic()
    with pytest.raises(NodeUnreachable, match="did not end in time"):
        client.state(agent(in_drops))
    assert time.monotonic() - begun < 20  # the drops would take a minute


def test_an_answer_without_an_end_is_not_kept(client: Nodes, agent: Callable[[Behaviour], NodeAddress]) -> None:
    with pytest.raises(NodeUnreachable, match="too large"):
        client.state(agent(without_an_end))


def test_an_answer_that_is_cut_off_is_none(client: Nodes, agent: Callable[[Behaviour], NodeAddress]) -> None:
    def cut(connection: ssl.SSLSocket) -> None:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{}")
        connection.unwrap()  # a regular end of TLS, so that nothing but the length tells

    with pytest.raises(NodeUnreachable, match="cut off"):
        client.state(agent(cut))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON"),
    ],
)
def test_what_is_no_answer_is_none(
    client: Nodes, agent: Callable[[Behaviour], NodeAddress], content: bytes, said: str
) -> None:
    with pytest.raises(NodeUnreachable, match=said):
        client.state(agent(saying(content)))
    with pytest.raises(NodeUnreachable, match=said):
        client.put_operation(agent(saying(content)), uuid4(), {}, wait=0)
    with pytest.raises(NodeUnreachable, match=said):
        client.validate(agent(saying(content)), tenant=NODE, module="greeter", digest="sha256:0", checks=[], timeout=1)


def test_a_refusal_is_one_only_with_its_reason(client: Nodes, agent: Callable[[Behaviour], NodeAddress]) -> None:
    error = b'{"error": {"code": "stale", "message": "too late"}}'
    with pytest.raises(NodeRefused, match="too late") as refusal:
        client.state(agent(saying(error, b"409 Conflict")))
    assert (refusal.value.status, refusal.value.code) == (409, "stale")
    with pytest.raises(NodeUnreachable, match="answered 502 without a reason"):
        client.state(agent(saying(b"<html>", b"502 Bad Gateway")))


def test_somebody_else_s_certificate_is_nobody_s_answer(
    client: Nodes, agent: Callable[[Behaviour], NodeAddress]
) -> None:
    address = agent(saying(b"{}")).address
    with pytest.raises(NodeUnreachable, match=f"^no safe connection to {address}: .*certificate") as unsafe:
        client.state(NodeAddress(uuid4(), address))
    assert not DRIVERS.search(str(unsafe.value))


def test_nobody_there_is_told_at_once(client: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NodeUnreachable, match=f"^no connection to 127.0.0.1:{port}: Connection refused$"):
        client.state(NodeAddress(NODE, f"127.0.0.1:{port}"))
    assert nodes.LARGEST_ANSWER > 1024 * 1024  # a log of the largest size that may be asked for fits


def silent(connection: ssl.SSLSocket) -> None:
    connection.recv(1)  # until the client has gone


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (silent, r"^{} did not give the module's log within [\d.]+ s$"),
        (ssl.SSLSocket.close, "^{} broke off before the module's log was whole$"),
    ],
)
def test_a_log_that_does_not_come_is_told_in_our_own_words(
    client: Nodes,
    agent: Callable[[Behaviour], NodeAddress],
    behaviour: Behaviour,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "FOLLOWED_AGAIN_WITHIN", 1.0)
    node = agent(behaviour)
    with pytest.raises(NodeUnreachable, match=said.format(node.address)):
        client.module_log(node, tenant=NODE, module="greeter", size=100)
    node = agent(behaviour)
    with (
        pytest.raises(NodeUnreachable, match=said.format(node.address)),
        client.follow_module_log(node, tenant=NODE, module="greeter", size=100) as pieces,
    ):
        list(pieces)


def test_an_agent_that_is_stopped_is_told_in_our_own_words(client: Nodes) -> None:
    """The kernel takes the connection, and then nobody speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        node = NodeAddress(NODE, f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NodeUnreachable, match=f"^{node.address} did not give its state within ") as stopped:
            client.state(node)
    assert not DRIVERS.search(str(stopped.value))
