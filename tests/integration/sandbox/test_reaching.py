"""What a command in the cage can reach: nothing of ours, in every isolation; where one cannot hold that, it says so."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.sandbox.spec import Claim
from config.settings import Settings
from tests.integration.sandbox import attacks
from tests.integration.sandbox.conftest import NAMES, expected_names
from tests.integration.sandbox.sites import Site, Sites

REFUSED_EVERYWHERE = {
    "unix socket",
    "loopback",
    "loopback 6",
    "metadata",
    "udp",
    "packet",
    "host of the machine",
    "kernel's ciphers",
    "io_uring",
    "namespace",
    "mount",
    "become root",
    "set user id",
    "set group id",
    "device",
    "write /usr",
    "write /etc",
    "write /",
    "chroot",
    "trace",
}
HELD_BY = {
    "file": Claim.FILES,
    "link to file": Claim.FILES,
    "root of other": Claim.FILES,
    "environ": Claim.PROCESSES,
    "any environ": Claim.PROCESSES,
    "memory": Claim.PROCESSES,
    "descriptors": Claim.PROCESSES,
    "signal": Claim.SIGNALS,
}


@dataclass
class Ours:
    """What must not be reached: each is what the user who runs the sandbox can reach."""

    secret: Path
    process: int
    path: Path
    abstract: str
    port: int

    def arguments(self) -> list[str]:
        return [os.fspath(self.secret), str(self.process), os.fspath(self.path), self.abstract, str(self.port)]


@pytest.fixture
def ours(base: Path) -> Iterator[Ours]:
    name = secrets.token_hex(4)
    secret = base / f"secret-{name}"
    secret.write_text("canary in a file")
    secret.chmod(0o600)
    abstract = f"hotswap-test-{name}"
    path = base / f"socket-{name}"
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as hidden, socket.socket() as tcp:
        by_path.bind(os.fspath(path))
        path.chmod(0o600)
        hidden.bind(f"\0{abstract}")
        tcp.bind(("127.0.0.1", 0))
        for listener in (by_path, hidden, tcp):
            listener.listen(64)
        victim = subprocess.Popen(["sleep", "600"], env={**os.environ, "HOTSWAP_SECRET": "canary"})
        try:
            yield Ours(secret, victim.pid, path, abstract, tcp.getsockname()[1])
        finally:
            victim.kill()
            victim.wait()


def _reach(site: Site, ours: Ours) -> dict[str, Any]:
    if site.name.startswith("user") and os.geteuid() == 0:
        # The user who runs the sandbox is another than we: what is to be kept from its commands must be its own.
        assert site.driver is not None
        ours.process = site.driver.process.pid
        for path in (ours.secret, ours.path):
            os.chown(path, 65534, 65534)
    answer = site.python(attacks.REACH, *ours.arguments(), environment={"GIVEN": "yes"})
    assert answer["exit_code"] == 0, answer
    told: dict[str, Any] = json.loads(answer["text"])
    return {**told, "lacks": answer["isolation"]["lacks"]}


def test_every_isolation_that_this_machine_can_give_is_tried(sites: Sites) -> None:
    """Or whole columns of the other tests would show nothing, and pass."""
    assert set(sites) == expected_names()
    assert sites, "no machine gives none"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_ours_is_reached(sites: Sites, ours: Ours, name: str) -> None:
    _check(_reach(sites[name], ours))


def _check(told: dict[str, Any]) -> None:
    results = told["results"]
    for attempt in REFUSED_EVERYWHERE:
        assert results[attempt] != "done", (attempt, results)
    for attempt, claim in HELD_BY.items():
        assert results[attempt] != "done" or claim.value in told["lacks"], (attempt, results)
    assert set(told["environment"]) <= {
        *("GIVEN", "PATH", "HOME", "TMPDIR", "LANG", "USER", "LOGNAME", "PWD", "LC_CTYPE", "GIT_CONFIG_NOSYSTEM"),
    }
    assert told["no new privileges"] == "1"
    assert int(told["capabilities"], 16) == 0
    assert told["descriptors"]["0"] == "/dev/null"
    assert told["descriptors"]["1"].startswith("pipe:")
    # And the one that the listing itself needs.
    assert told["open"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", ["user-landlock", "user-bare"])
def test_of_the_same_user_our_processes_are_safe_from_the_bluntest_signals(sites: Sites, name: str) -> None:
    """Without a wall around it, a command could end all that its user runs, its supervisor first."""
    program = (
        "import os\nfor target in (-1, os.getppid()):\n"
        "    try:\n        os.kill(target, 0); print('done')\n    except OSError as error: print(error.strerror)"
    )
    assert sites[name].python(program)["text"] == "Operation not permitted\n" * 2


def test_only_the_weakest_lacks_anything(sites: Sites) -> None:
    lacking = {name: site.run("true")["isolation"]["lacks"] for name, site in sites.items()}
    assert {name for name, lacks in lacking.items() if lacks} == {"user-bare"} & expected_names()


@pytest.mark.parametrize("name", ["root", "user"])
def test_without_a_network_namespace_the_filter_holds_the_network(sites: Sites, ours: Ours, name: str) -> None:
    site = sites[name].poorer(network_namespace=False)
    results = _reach(site, ours)["results"]
    assert {results[attempt] for attempt in ("loopback", "loopback 6", "metadata", "udp", "packet")} == {"EPERM"}
    assert results["unix socket"] == "ENOENT"


@pytest.mark.parametrize("missing", ["proc_mount", "pid_namespace", "mount_namespace"])
@pytest.mark.parametrize("name", ["root", "user"])
def test_with_one_wall_missing_the_others_hold(sites: Sites, ours: Ours, name: str, missing: str) -> None:
    site = sites[name].poorer(**{missing: False})
    if name == "root" and missing == "mount_namespace":
        # Another user has to be able to reach the interpreter.
        site.driver = sites["root-bare"].driver
    if name == "user" and missing != "mount_namespace":
        answer = site.run("sh", "-c", "echo /proc/*")
        assert answer["text"] == "/proc/*\n"
        assert set(answer["isolation"]["lacks"]) <= {Claim.SIGNALS.value, Claim.ENDING.value}
        return
    told = _reach(site, ours)
    assert told["lacks"] == []
    _check(told)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_can_be_allowed(sites: Sites, ours: Ours, name: str) -> None:
    program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('connected')"
    answer = sites[name].python(program, str(ours.port), network="allowed")
    assert answer["text"] == "connected\n"
    assert answer["isolation"]["network"] == "allowed"
    assert Claim.NETWORK.value in answer["isolation"]["lacks"]
    if name.startswith("user-"):
        program = "import socket\nsocket.socket(socket.AF_UNIX)"
        assert "PermissionError" in sites[name].python(program, network="allowed")["text"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_in_the_machines_ipc(sites: Sites, name: str) -> None:
    """What is System V's outlives its makers: a little shared memory may be made where a namespace takes it along."""
    made = sites[name].python(attacks.IPC)["text"].split()
    assert made == ["made" if name in ("root", "user") else "refused", "refused", "refused", "refused"]


@pytest.mark.parametrize("name", ["root", "user"])
def test_loopback_works_inside_where_the_network_is_a_namespace(sites: Sites, name: str) -> None:
    program = (
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\nprint('served')"
    )
    assert sites[name].python(program)["text"] == "served\n"


def test_without_any_means_it_is_refused_in_one_sentence(sites: Sites) -> None:
    for site in sites.values():
        bare = site.poorer(network_namespace=False, seccomp=False)
        folder = site.workspace()
        answer = bare.run("touch", "ran", workspace=folder)
        assert answer["refused"].startswith("no network can be kept from it here: ")
        assert not list(folder.iterdir())


def test_what_is_required_and_missing_is_refused(sites: Sites) -> None:
    for claim in ("FILES", "PROCESSES", "SIGNALS", "ENDING"):
        assert "refused" in sites["user-bare"].run("true", require=[claim])


@pytest.mark.parametrize("name", NAMES)
def test_builds_run_in_every_isolation_but_the_weakest(sites: Sites, name: str) -> None:
    """With what builds require by default (`sandbox_require`)."""
    require = [claim.upper() for claim in Settings.model_fields["sandbox_require"].default]
    answer = sites[name].run("sh", "-c", "echo built", require=require)
    if name == "user-bare":
        assert answer["refused"].count("it needs") == 3, answer
    else:
        assert answer["text"] == "built\n", answer
