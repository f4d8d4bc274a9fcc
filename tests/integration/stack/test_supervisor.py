"""The supervisor over real servers: start, stop, deaths, a kill -9 of its own."""

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis

from deploy.local import external
from deploy.local.datafolder import DataFolder
from deploy.local.fleet import parse_nodes
from deploy.local.options import Options
from deploy.local.plan import Plan, make_plan
from deploy.local.ports import free_ports
from deploy.local.service import Phase
from deploy.local.stack import up
from tests.integration.stack.running import RunningStack, until
from tests.integration.stack.small_stack import plan


def secret(stack: RunningStack, name: str) -> str:
    return (stack.folder / "secrets" / name).read_text()


def _refusal(capsys: pytest.CaptureFixture[str], folder: Path, port: int, **environment: str) -> str:
    """What a start that cannot be says. It comes to nothing before it has started anything, so it may run here."""
    code = up(Options(folder, port, ()), planner=plan, outer={**os.environ, **environment})
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("hotswap: ")
    assert said.count("\n") == 1
    return said


def answer(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except (OSError, urllib.error.URLError):
        return None


def test_it_starts_locks_its_folder_tells_everything_once_and_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningStack(tmp_path / "data") as stack:
        urls = stack.until_ready()
        assert answer(urls["api"]) is not None
        until(lambda: "Ctrl-C stops everything" in stack.output, "the banner")
        assert stack.output.count(urls["docs"]) == 1
        for user in ("admin", "deployer", "approver", "viewer"):
            assert f"    {user}" in stack.output
        commands = [Path(f"/proc/{key.pid}/cmdline").read_bytes() for key in stack.processes()]
        for ordinary in (b"valkey-server", b"postgres", b"gunicorn"):
            assert any(ordinary in command for command in commands), ordinary
        refused = _refusal(capsys, tmp_path / "data", 0)
        assert f"process {stack.process.pid}" in refused
        assert "--data-dir" in refused
        stack.process.send_signal(signal.SIGINT)
        until(lambda: "stopping api" in stack.output, "it stops")
        assert stack.stop(signal.SIGINT) == 0  # a second Ctrl-C is harmless
        assert stack.survivors() == []
        assert stack.output.rstrip().endswith("stopped")
        for private in ("secrets/jwt", "secrets/database-url", "keys/development.key", "tls/ca.key"):
            assert (stack.folder / private).stat().st_mode & 0o077 == 0, private


def test_a_stop_in_the_midst_of_the_start_leaves_nothing(tmp_path: Path) -> None:
    with RunningStack(tmp_path / "data") as stack:
        until(lambda: "starting" in stack.output, "it starts")
        assert stack.stop() == 0
        assert stack.survivors() == []
        assert stack.processes() == set()


def test_what_dies_is_started_again(tmp_path: Path) -> None:
    with RunningStack(tmp_path / "data") as stack:
        urls = stack.until_ready()
        for service in ("api", "valkey", "postgres"):
            before = stack.key(service)
            stack.kill(service)
            until(partial(_replaced, stack, service, before), f"another {service}")
            until(lambda: answer(urls["api"]), f"the application answers after the death of {service}")
        (died,) = [line for line in stack.output.splitlines() if "api was killed by signal 9" in line]
        assert '"event"' not in died, "no line of its good health is given as the reason"
        told = [json.loads(line) for line in (stack.folder / "logs/supervisor.log").read_text().splitlines()]
        assert [line["level"] for line in told if "api was killed" in line["event"]] == ["warning"]
        assert stack.stop() == 0
        assert stack.survivors() == []


def _replaced(stack: RunningStack, service: str, before: object) -> bool:
    try:
        return stack.key(service) != before
    except StopIteration:
        return False


def test_no_replace_leaves_dead_what_died(tmp_path: Path) -> None:
    with RunningStack(tmp_path / "data", "--no-replace") as stack:
        urls = stack.until_ready()
        stack.kill("api")
        until(lambda: "not started again: --no-replace" in stack.output, "it says so")
        assert answer(urls["api"]) is None
        assert stack.stop() == 0


def test_after_a_kill_of_the_supervisor_the_next_start_ends_the_orphans_and_keeps_the_state(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RunningStack(folder) as first:
        urls = first.until_ready()
        database = secret(first, "database-url")
        with psycopg.connect(database) as connection:
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("INSERT INTO kept VALUES (42)")
        with redis.Redis.from_url(secret(first, "broker-url")) as broker:
            broker.set("kept", "42")
        os.kill(first.key("valkey").pid, signal.SIGSTOP)  # a stopped one has to end, too
        orphans = first.processes()
        first.process.kill()
        first.process.wait()
        assert answer(urls["api"]) is not None  # orphans go on until the next start
        with RunningStack(folder, port=int(urls["api"].rpartition(":")[2])) as second:
            second.until_ready()
            assert "ending what an earlier start left: api" in second.output
            assert [key for key in orphans if key.is_alive()] == []
            assert secret(second, "database-url") == database
            with psycopg.connect(database) as connection:
                assert connection.execute("SELECT id FROM kept").fetchone() == (42,)
            assert second.stop() == 0
            assert second.survivors() == []


def test_a_killed_start_can_be_repeated(tmp_path: Path) -> None:
    """kill -9 at several moments of the first start, initdb included: the next start always gets ready."""
    folder = tmp_path / "data"
    for marker in ("postgres/data.new.*/global", "postgres/data/PG_VERSION", "run/processes/postgres.json"):
        with RunningStack(folder) as stack:
            until(lambda marker=marker: any(folder.glob(marker)), marker)  # type: ignore[misc]
            stack.process.kill()
            stack.process.wait()
            with RunningStack(folder) as again:
                if marker.endswith("json"):
                    again.until_ready()
                    assert again.stop() == 0
                    assert again.survivors() == []


def test_a_port_in_use_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        said = _refusal(capsys, tmp_path / "data", listener.getsockname()[1])
    assert "in use" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HOTSWAP_JWT_SECRET", "changeme"),
        ("HOTSWAP_DATABASE_URL", "mysql://x/y"),
        ("HOTSWAP_DATABASE_URL", "postgresql://hotswap:wrong@127.0.0.1:{port}/hotswap"),
        ("HOTSWAP_BROKER_URL", "redis://127.0.0.1:{port}/0"),
        ("HOTSWAP_ADMIN_PASSWORD", "hotswap-is-fine"),
    ],
)
def test_an_unusable_setting_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    said = _refusal(capsys, tmp_path / "data", 0, **{variable: value.format(port=free_ports(1)[0])})
    assert variable in said
    assert "wrong@" not in said


def test_external_servers_are_used_and_none_is_started(tmp_path: Path, database_url: str, broker_url: str) -> None:
    external = {"HOTSWAP_DATABASE_URL": database_url, "HOTSWAP_BROKER_URL": broker_url}
    with RunningStack(tmp_path / "data", environment=external) as stack:
        urls = stack.until_ready()
        assert answer(urls["api"]) is not None
        assert not (stack.folder / "postgres").exists()
        assert not (stack.folder / "valkey").exists()
        assert stack.stop() == 0


def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    """Below a folder that nobody else may enter; the other tests show the same for root, where root runs them."""
    user = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
    with RunningStack(tmp_path / "data", prefix=user) as stack:
        stack.until_ready()
        assert stack.stop() == 0
        assert stack.survivors() == []


def test_what_is_refused_while_it_starts_is_one_line_and_ends_with_2(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the database knows which environments there are. Here it is one that has none, and nothing else starts."""

    def only_the_check(options: Options, data: DataFolder, port: int, outer: Mapping[str, str]) -> Plan:
        whole = make_plan(options, data, port, outer)
        return replace(whole, services=tuple(each for each in whole.services if each.phase is Phase.CHECKS))

    given = {**os.environ, "HOTSWAP_DATABASE_URL": database_url, "HOTSWAP_BROKER_URL": "redis://127.0.0.1:1/0"}
    options = Options(tmp_path / "data", 0, tuple(parse_nodes("nowhere=2")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external, "check_broker", lambda _: None)
        assert up(options, planner=only_the_check, outer=given) == 2
    assert "hotswap: --nodes: there is no environment Nowhere: this stack has" in capsys.readouterr().err


def test_a_start_that_is_refused_leaves_no_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refusal(capsys, tmp_path / "new" / "data", 0, HOTSWAP_ADMIN_PASSWORD="short")
    assert not (tmp_path / "new" / "data").exists()
    (tmp_path / "old").mkdir()
    _refusal(capsys, tmp_path / "old", 0, HOTSWAP_ADMIN_PASSWORD="short")
    assert (tmp_path / "old").exists()
