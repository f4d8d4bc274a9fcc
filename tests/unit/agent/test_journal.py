"""The journal: what is on disk after each call, tokens that only grow, commits that check them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.failures import TokenSuperseded
from agent.journal import SEQUENCE_BLOCK, Journal
from agent.manifest import Kind
from agent.protocol import Action, Command, ModuleKey, OperationState, Target
from agent.records import ReleaseRecord, Role, SideRecord

KEY = ModuleKey("tenant", "payment-processor")
TARGET = Target("sha256:" + "a" * 64, "1.0.0", 1, "c2ln", "0" * 16)
RELEASE = ReleaseRecord(TARGET.digest, "1.0.0", Kind.PROCESS, "QA", "d1", None, {"A": "b"})


def command(operation_id: str, token: int) -> Command:
    return Command(operation_id, KEY, token, Action.ACTIVATE, TARGET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(file: Path) -> Journal:
    return Journal(file)


def test_every_commit_is_synced(journal: Journal) -> None:
    database = journal._database
    assert database.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_accepting_raises_the_token_and_records_the_operation(journal: Journal, file: Path) -> None:
    journal.accept(command("op-1", 7), 1.0)
    again = Journal(file)
    assert again.module(KEY).highest_token == 7
    (record,) = again.unfinished(KEY)
    assert (record.operation_id, record.token, record.step) == ("op-1", 7, "accepted")
    assert record.command == command("op-1", 7)
    assert not record.committed


def test_accepting_a_known_id_changes_nothing_not_even_the_token(journal: Journal) -> None:
    journal.accept(command("op-1", 7), 1.0)
    with pytest.raises(Exception, match="UNIQUE"):
        journal.accept(command("op-1", 9), 2.0)
    assert journal.module(KEY).highest_token == 7


def test_tokens_never_fall(journal: Journal) -> None:
    for token in (5, 3, 8, 8, 1):
        journal.raise_token(KEY, token)
    assert journal.module(KEY).highest_token == 8


def test_commit_replaces_the_active_release_in_one_step(journal: Journal, file: Path) -> None:
    journal.accept(command("op-1", 7), 1.0)
    side = SideRecord(KEY, "A", Role.ACTIVE, RELEASE, "op-1")
    journal.commit_active(command("op-1", 7), RELEASE, side, None)
    again = Journal(file)
    module = again.module(KEY)
    assert (module.active, module.active_side) == (RELEASE, "A")
    assert again.sides(KEY) == [side]
    record = again.operation("op-1")
    assert record is not None and record.committed and record.state is OperationState.RUNNING


def test_commit_under_a_lower_token_changes_nothing(journal: Journal) -> None:
    journal.accept(command("op-1", 7), 1.0)
    journal.raise_token(KEY, 8)
    with pytest.raises(TokenSuperseded):
        journal.commit_active(command("op-1", 7), RELEASE, None, None)
    assert journal.module(KEY).active is None
    record = journal.operation("op-1")
    assert record is not None and not record.committed


def test_a_commit_can_be_taken_back(journal: Journal) -> None:
    journal.accept(command("op-1", 7), 1.0)
    old_side = SideRecord(KEY, "A", Role.ACTIVE, RELEASE, "op-1")
    journal.commit_active(command("op-1", 7), RELEASE, old_side, None)
    before = journal.module(KEY)
    journal.accept(command("op-2", 7), 1.0)
    new = replace(RELEASE, version="2.0.0")
    draining = replace(old_side, role=Role.DRAINING)
    journal.commit_active(command("op-2", 7), new, SideRecord(KEY, "B", Role.ACTIVE, new, "op-2"), draining)
    journal.put_back_active(command("op-2", 7), before, (old_side,))
    assert journal.module(KEY) == before
    record = journal.operation("op-2")
    assert record is not None and not record.committed


def test_voiding_raises_the_token_with_it(journal: Journal) -> None:
    journal.record_void("op-1", KEY, 9, 1.0)
    assert journal.module(KEY).highest_token == 9
    same = journal.view("op-1", KEY).same_id
    assert same is not None and same.void and same.content is None


def test_a_void_id_without_token_learns_it_and_can_be_forgotten_then(journal: Journal) -> None:
    journal.record_void("op-1", None, None, 1.0)
    journal.raise_token(KEY, 9)
    assert journal.prune(KEY, 0) == 0
    journal.record_void("op-1", KEY, 4, 2.0)
    assert journal.module(KEY).highest_token == 9
    assert journal.prune(KEY, 0) == 1
    assert journal.operation("op-1") is None


def test_voiding_a_known_operation_does_not_touch_it(journal: Journal) -> None:
    journal.accept(command("op-1", 7), 1.0)
    journal.finish("op-1", OperationState.SUCCEEDED, "switched", "{}")
    journal.record_void("op-1", KEY, 7, 2.0)
    record = journal.operation("op-1")
    assert record is not None and record.state is OperationState.SUCCEEDED


def test_only_old_ended_ids_below_the_highest_token_are_pruned(journal: Journal) -> None:
    for number in range(6):
        journal.accept(command(f"op-{number}", number // 2), 1.0)  # tokens 0 0 1 1 2 2
        if number != 1:
            journal.finish(f"op-{number}", OperationState.SUCCEEDED, "switched", "{}")
    assert journal.prune(KEY, 1) == 3
    left = [number for number in range(6) if journal.operation(f"op-{number}") is not None]
    assert left == [1, 4, 5]  # one still runs, two have the highest token


def test_the_sequence_grows_over_restarts(journal: Journal, file: Path) -> None:
    given = [journal.next_sequence() for _ in range(SEQUENCE_BLOCK + 10)]
    assert given == sorted(set(given))
    again = Journal(file)
    assert again.next_sequence() > given[-1]


def test_addresses_are_kept(journal: Journal, file: Path) -> None:
    journal.put_address(KEY, "http", "0.0.0.0:8080", "127.0.0.1:41233")
    assert Journal(file).addresses(KEY) == {"http": ("0.0.0.0:8080", "127.0.0.1:41233")}


def test_sides_come_and_go(journal: Journal) -> None:
    record = SideRecord(KEY, "B", Role.WARM, RELEASE, "op-1", until=12.5)
    journal.put_side(record)
    assert journal.sides() == [record]
    journal.drop_side(KEY, "B")
    assert journal.sides(KEY) == []
