"""Secrets, logs, ports and the ledger in the data folder."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import logs
from deploy.local.datafolder import DataFolder, DataFolderError
from deploy.local.ledger import MARKER, Ledger, Record
from deploy.local.ports import free_ports, kept_ports
from deploy.local.processes import ProcessKey, boot_id, has_variable, key_of, session_members
from deploy.local.secret_files import PasswordError, kept_secret, passwords


def test_generated_passwords_are_kept_and_given_ones_are_not_written(tmp_path: Path) -> None:
    kept = tmp_path / "credentials.json"
    first = passwords({"HOTSWAP_ADMIN_PASSWORD": "correct horse battery"}, kept)
    assert first["admin"] == "correct horse battery"
    assert "correct horse" not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    second = passwords({}, kept)
    assert {user: second[user] for user in ("deployer", "approver", "viewer")} == {
        user: first[user] for user in ("deployer", "approver", "viewer")
    }
    assert passwords({}, kept) == second
    assert all(len(password) >= 12 for password in second.values())


def test_a_broken_credentials_file_is_made_anew(tmp_path: Path) -> None:
    kept = tmp_path / "credentials.json"
    kept.write_text("{")
    assert passwords({}, kept) == json.loads(kept.read_text())


@pytest.mark.parametrize("password", ["tiny", "the-admin-password", "HotSwap-is-great"])
def test_weak_passwords_are_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(PasswordError, match="HOTSWAP_ADMIN_PASSWORD") as caught:
        passwords({"HOTSWAP_ADMIN_PASSWORD": password}, tmp_path / "credentials.json")
    assert password not in str(caught.value)


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    assert kept_secret(tmp_path / "jwt") == kept_secret(tmp_path / "jwt")
    assert kept_secret(tmp_path / "jwt") != kept_secret(tmp_path / "other")


def test_a_log_is_cut_in_place_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab") as writer:
        writer.write(b"old\n" * 100 + b"new\n" * 100)
        writer.flush()
        assert logs.cut(log, largest=400)
        assert not logs.cut(log, largest=400)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "api.log.1").read_bytes() == b"new\n" * 100
    assert logs.last_words(log, 3) == "after"
    assert logs.last_words(tmp_path / "none") == ""
    assert not logs.cut(tmp_path / "none")


def test_what_was_said_in_good_health_or_by_another_process_is_no_reason_to_have_died(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text("Traceback of the one before\n")
    begin = logs.size(log)
    with log.open("a") as writer:
        writer.write(json.dumps({"event": "build@vm ready.", "level": "info"}) + "\n")
        writer.flush()
        assert logs.last_words(log, since=begin) == ""
        writer.write(json.dumps({"event": "a task failed", "level": "error", "error": "OSError: no space"}) + "\n")
        writer.write(json.dumps({"event": "stopping", "level": "info"}) + "\n")
    assert logs.last_words(log, 3, since=begin) == "a task failed: OSError: no space"
    with log.open("a") as writer:
        writer.write('Fatal Python error\n[1]\n{"a": 1}\n{broken\n')
    assert logs.last_words(log, 4, since=begin) == 'Fatal Python error | [1] | {"a": 1} | {broken'
    log.write_text("since it was cut\n")
    assert logs.last_words(log, since=10_000) == "since it was cut"
    assert logs.size(tmp_path / "none") == 0


def test_ports_are_kept_unless_somebody_took_them(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = kept_ports(file, ["a", "b"])
    assert kept_ports(file, ["a", "b"]) == first
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", first["a"]))
        second = kept_ports(file, ["a", "b"])
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]
    file.write_text("nonsense")
    assert set(kept_ports(file, ["a", "b"])) == {"a", "b"}
    assert len(set(free_ports(20))) == 20


def test_only_one_may_have_the_folder(tmp_path: Path) -> None:
    held = DataFolder(tmp_path / "data")
    with pytest.raises(DataFolderError, match=f"process {os.getpid()}"):
        DataFolder(held.root)


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match="--data-dir"):
        DataFolder(tmp_path / "file" / "data")


def test_the_ledger_knows_what_was_entered(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.enter("api")
    (tmp_path / "torn.json").write_text("{")
    (mine,) = ledger.records()
    assert mine == Record("api", ProcessKey(boot_id(), os.getpid(), mine.key.started))
    assert mine.key.is_alive()
    ledger.strike("api")
    ledger.strike("api")
    assert ledger.records() == []


def test_a_process_is_more_than_its_pid() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sys.stdin.read()"
    leader = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, MARKER: "mine"},
    )
    assert leader.stdout is not None
    grandchild = int(leader.stdout.readline())
    key = key_of(leader.pid)
    assert key is not None
    try:
        assert {member.pid for member in session_members(key)} == {leader.pid, grandchild}
        assert list(session_members(ProcessKey(key.boot, key.pid, key.started - 1))) == []
        assert list(session_members(ProcessKey("another boot", key.pid, key.started))) == []
        assert not ProcessKey(key.boot, key.pid, key.started + 1).is_alive()
        assert has_variable(grandchild, MARKER, "mine")
        assert not has_variable(grandchild, MARKER, "min")
        leader.kill()
        leader.wait()
        assert not key.is_alive()
        assert {member.pid for member in session_members(key)} == {grandchild}
    finally:
        leader.kill()
        os.kill(grandchild, 9)
        leader.communicate()
