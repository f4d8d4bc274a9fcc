"""What is said of a port that cannot be listened on."""

import socket

import pytest

from deploy.local.ports import LOOPBACK, free_ports, why_unusable


def test_a_free_port_needs_no_word() -> None:
    assert why_unusable(free_ports(1)[0]) is None


def test_one_in_use_says_so() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        assert why_unusable(port) == (
            f"port {port} on {LOOPBACK} is in use: stop what listens there, or choose another with --port"
        )


def test_one_that_only_root_may_use_says_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert why_unusable(80) == "port 80 is not for ordinary users: choose one from 1024 on with --port"
