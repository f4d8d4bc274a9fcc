"""The node's memory: an SQLite database whose every commit is on disk before the call returns.

WAL with synchronous=FULL. Calls are synchronous on purpose: a check and the write that follows from it happen in
one turn of the event loop, so nothing comes between them. docs/agent.md has the states and the rules of recovery.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import crashpoints
from agent.commands import ModuleView, may_commit, may_prune
from agent.failures import TokenSuperseded
from agent.protocol import Command, ModuleKey, OperationState
from agent.records import (
    ModuleRecord,
    OperationRecord,
    ReleaseRecord,
    Role,
    SideRecord,
    command_from_json,
    command_to_json,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS node (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS modules (
    tenant TEXT NOT NULL, module TEXT NOT NULL, highest_token INTEGER NOT NULL DEFAULT 0,
    active TEXT, active_side TEXT, PRIMARY KEY (tenant, module)) STRICT;
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, tenant TEXT, module TEXT, token INTEGER, state TEXT NOT NULL, step TEXT NOT NULL,
    command TEXT, result TEXT, accepted_at REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS operations_of_module ON operations (tenant, module, state);
CREATE TABLE IF NOT EXISTS sides (
    tenant TEXT NOT NULL, module TEXT NOT NULL, side TEXT NOT NULL, role TEXT NOT NULL, release TEXT NOT NULL,
    operation_id TEXT NOT NULL, until REAL, PRIMARY KEY (tenant, module, side)) STRICT;
CREATE TABLE IF NOT EXISTS addresses (
    tenant TEXT NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL, asked TEXT NOT NULL, bound TEXT NOT NULL,
    PRIMARY KEY (tenant, module, name)) STRICT;
"""
OPERATION = "SELECT id, tenant, module, token, state, step, command, result, accepted_at FROM operations"
SIDE = "SELECT tenant, module, side, role, release, operation_id, until FROM sides"
SEQUENCE = "sequence_reserved"
SEQUENCE_BLOCK = 1000  # numbers reserved by one write; a restart skips what is left of a block


class Journal:
    """Everything a node must still know after kill -9 or a power cut."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)
        self._sequence = int(self.value(SEQUENCE) or 0)
        self._reserved = self._sequence

    def close(self) -> None:
        """Close the database; everything is on disk already."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        try:
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:  # a full disk leaves it open
                self._database.execute("ROLLBACK")
            raise

    # -- the node ---------------------------------------------------------------------------------------------

    def value(self, name: str) -> str | None:
        """A fact about the node itself, e.g. the port of its API."""
        row = self._database.execute("SELECT value FROM node WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put_value(self, name: str, value: str) -> None:
        """Keep a fact about the node."""
        self._database.execute("INSERT OR REPLACE INTO node VALUES (?, ?)", (name, value))

    @property
    def sequence(self) -> int:
        """The number given out last."""
        return self._sequence

    def next_sequence(self) -> int:
        """A number higher than any before it on this node, over restarts and reboots."""
        if self._sequence >= self._reserved:
            self.put_value(SEQUENCE, str(self._sequence + SEQUENCE_BLOCK))
            self._reserved = self._sequence + SEQUENCE_BLOCK
        self._sequence += 1
        return self._sequence

    # -- operations -------------------------------------------------------------------------------------------

    def view(self, operation_id: str, key: ModuleKey) -> ModuleView:
        """What the command checks need to know."""
        same = self.operation(operation_id)
        module = self.module(key)
        return ModuleView(
            highest_token=module.highest_token,
            active_digest=module.active.digest if module.active else None,
            same_id=same.known() if same else None,
            unfinished=tuple(other.known() for other in self.unfinished(key)),
        )

    def accept(self, command: Command, now: float) -> None:
        """Raise the token and record the operation, before anything else of it happens."""
        with self._transaction() as database:
            self._raise(database, command.key, command.token)
            database.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, 'running', 'accepted', ?, NULL, ?)",
                (command.operation_id, *command.key, command.token, command_to_json(command), now),
            )
        crashpoints.reach("accepted")

    def operation(self, operation_id: str) -> OperationRecord | None:
        """What is recorded under an id."""
        row = self._database.execute(f"{OPERATION} WHERE id = ?", (operation_id,)).fetchone()
        return None if row is None else _operation(row)

    def unfinished(self, key: ModuleKey | None = None) -> list[OperationRecord]:
        """Accepted and not ended, oldest first; of one module or of all."""
        if key is None:
            rows = self._database.execute(f"{OPERATION} WHERE state = 'running' ORDER BY rowid")
        else:
            rows = self._database.execute(
                f"{OPERATION} WHERE tenant = ? AND module = ? AND state = 'running' ORDER BY rowid", key
            )
        return [_operation(row) for row in rows.fetchall()]

    def note_step(self, operation_id: str, step: str) -> None:
        """Put a step on disk that recovery must know of."""
        self._database.execute("UPDATE operations SET step = ? WHERE id = ?", (step, operation_id))
        crashpoints.reach(step)

    def finish(self, operation_id: str, state: OperationState, step: str, result: str) -> None:
        """Record how an operation ended."""
        self._database.execute(
            "UPDATE operations SET state = ?, step = ?, result = ? WHERE id = ?", (state, step, result, operation_id)
        )
        crashpoints.reach("finished")

    def record_void(self, operation_id: str, key: ModuleKey | None, token: int | None, now: float) -> None:
        """Give an id up that was never seen, and raise the module's token where one is told, in one transaction."""
        tenant, module = key if key is not None else (None, None)
        with self._transaction() as database:
            if key is not None and token is not None:
                self._raise(database, key, token)
            database.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, 'void', 'accepted', NULL, NULL, ?)"
                " ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, module = excluded.module,"
                " token = excluded.token WHERE state = 'void' AND operations.token IS NULL",
                (operation_id, tenant, module, token, now),
            )

    def prune(self, key: ModuleKey, keep: int) -> int:
        """Forget all but the newest `keep` ended ids of a module, where a late request would be refused anyway."""
        highest = self.module(key).highest_token
        rows = self._database.execute(
            "SELECT id, token FROM operations WHERE tenant = ? AND module = ? AND state <> 'running'"
            " ORDER BY rowid DESC LIMIT -1 OFFSET ?",
            (*key, keep),
        ).fetchall()
        gone = [(row[0],) for row in rows if may_prune(row[1], highest)]
        if gone:
            with self._transaction() as database:
                database.executemany("DELETE FROM operations WHERE id = ?", gone)
        return len(gone)

    # -- modules ----------------------------------------------------------------------------------------------

    def module(self, key: ModuleKey) -> ModuleRecord:
        """What was committed for a module; an empty record for one never heard of."""
        row = self._database.execute(
            "SELECT highest_token, active, active_side FROM modules WHERE tenant = ? AND module = ?", key
        ).fetchone()
        return ModuleRecord(key) if row is None else _module((*key, *row))

    def modules(self) -> list[ModuleRecord]:
        """All modules this node has heard of."""
        rows = self._database.execute("SELECT tenant, module, highest_token, active, active_side FROM modules")
        return [_module(row) for row in rows.fetchall()]

    def raise_token(self, key: ModuleKey, token: int) -> None:
        """Make a token the highest seen; a lower one changes nothing."""
        with self._transaction() as database:
            self._raise(database, key, token)

    @staticmethod
    def _raise(database: sqlite3.Connection, key: ModuleKey, token: int) -> None:
        database.execute(
            "INSERT INTO modules (tenant, module, highest_token) VALUES (?, ?, ?) ON CONFLICT (tenant, module)"
            " DO UPDATE SET highest_token = max(highest_token, excluded.highest_token)",
            (*key, token),
        )

    def commit_active(
        self, command: Command, release: ReleaseRecord | None, side: SideRecord | None, old: SideRecord | None
    ) -> None:
        """The commit: from here on the operation is finished rather than undone.

        In one transaction the token is checked again, the active release is replaced, and the sides get their
        new roles. Raises `TokenSuperseded`.
        """
        key = command.key
        crashpoints.reach("before-commit")
        with self._transaction() as database:
            highest = self.module(key).highest_token
            if not may_commit(command.token, highest):
                raise TokenSuperseded(f"token {command.token} is below {highest}")
            database.execute(
                "UPDATE modules SET active = ?, active_side = ? WHERE tenant = ? AND module = ?",
                (release.to_json() if release else None, side.side if side else None, *key),
            )
            for record in (old, side):
                if record is not None:
                    self._put_side(database, record)
            database.execute("UPDATE operations SET step = 'committed' WHERE id = ?", (command.operation_id,))
        crashpoints.reach("committed")

    def put_back_active(self, command: Command, module: ModuleRecord, sides: tuple[SideRecord, ...]) -> None:
        """Take a commit back whose switch proved impossible while the old release still serves."""
        with self._transaction() as database:
            database.execute(
                "UPDATE modules SET active = ?, active_side = ? WHERE tenant = ? AND module = ?",
                (module.active.to_json() if module.active else None, module.active_side, *module.key),
            )
            for record in sides:
                self._put_side(database, record)
            database.execute("UPDATE operations SET step = 'healthy' WHERE id = ?", (command.operation_id,))

    # -- sides and addresses ----------------------------------------------------------------------------------

    def sides(self, key: ModuleKey | None = None) -> list[SideRecord]:
        """What is on the sides of one module or of all."""
        rows = (
            self._database.execute(SIDE)
            if key is None
            else self._database.execute(f"{SIDE} WHERE tenant = ? AND module = ?", key)
        )
        return [_side(row) for row in rows.fetchall()]

    def put_side(self, record: SideRecord) -> None:
        """Record what is on a side."""
        self._put_side(self._database, record)

    @staticmethod
    def _put_side(database: sqlite3.Connection, record: SideRecord) -> None:
        database.execute(
            "INSERT OR REPLACE INTO sides VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*record.key, record.side, record.role, record.release.to_json(), record.operation_id, record.until),
        )

    def drop_side(self, key: ModuleKey, side: str) -> None:
        """Record that a side is empty."""
        self._database.execute("DELETE FROM sides WHERE tenant = ? AND module = ? AND side = ?", (*key, side))

    def addresses(self, key: ModuleKey) -> dict[str, tuple[str, str]]:
        """Per name of a module's listeners the address that its manifest asks for and the one bound for it."""
        rows = self._database.execute("SELECT name, asked, bound FROM addresses WHERE tenant = ? AND module = ?", key)
        return {name: (asked, bound) for name, asked, bound in rows.fetchall()}

    def put_address(self, key: ModuleKey, name: str, asked: str, bound: str) -> None:
        """Keep an address, so that it stays the same over swaps, restarts and reboots."""
        self._database.execute("INSERT OR REPLACE INTO addresses VALUES (?, ?, ?, ?, ?)", (*key, name, asked, bound))


def _operation(row: tuple[object, ...]) -> OperationRecord:
    identifier, tenant, module, token, state, step, command, result, accepted_at = row
    return OperationRecord(
        operation_id=str(identifier),
        key=None if tenant is None else ModuleKey(str(tenant), str(module)),
        token=token if isinstance(token, int) else None,
        state=OperationState(str(state)),
        step=str(step),
        command=None if command is None else command_from_json(str(command)),
        result=None if result is None else str(result),
        accepted_at=float(str(accepted_at)),
    )


def _module(row: tuple[object, ...]) -> ModuleRecord:
    tenant, module, highest, active, side = row
    return ModuleRecord(
        key=ModuleKey(str(tenant), str(module)),
        highest_token=int(str(highest)),
        active=None if active is None else ReleaseRecord.from_json(str(active)),
        active_side=None if side is None else str(side),
    )


def _side(row: tuple[object, ...]) -> SideRecord:
    tenant, module, side, role, release, operation_id, until = row
    return SideRecord(
        key=ModuleKey(str(tenant), str(module)),
        side=str(side),
        role=Role(str(role)),
        release=ReleaseRecord.from_json(str(release)),
        operation_id=str(operation_id),
        until=None if until is None else float(str(until)),
    )
