"""What a stage's command printed, in PostgreSQL: pieces in order, bounded because the sandbox's log is.

A piece is only taken from the attempt that holds the stage; so writing also tells whether the work still counts.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.infrastructure.db.engine import Database, Raw

PIECE_BYTES = 64 * 1024

_ADD = """
with held as (
    select id, tenant_id from stages where id = %(stage_id)s and attempt = %(attempt)s and status = 'Running'
), added as (
    insert into stage_log_pieces (stage_id, attempt, seq, content, tenant_id)
    select held.id, %(attempt)s, %(seq)s, %(content)s, held.tenant_id from held where %(content)s <> ''
        -- After a failure that came too late: the same was written, and the file may have grown since.
        on conflict (stage_id, attempt, seq) do update set content = excluded.content
)
select count(*) from held
"""
_READ = """
select attempt, seq, content from stage_log_pieces
 where stage_id = %(stage_id)s and (attempt, seq) > (%(attempt)s, %(seq)s)
 order by attempt, seq limit %(limit)s
"""


class StageLogWriter:
    """Carries a growing file into the stage's log, from one thread at a time."""

    def __init__(self, database: Database, stage_id: UUID, attempt: int, file: Path) -> None:
        self._database = database
        self._stage_id = stage_id
        self._attempt = attempt
        self._file = file
        self._read = 0
        self._seq = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def carry(self, *, to_the_end: bool = False) -> bool:
        """Write what the file has grown by. Whether this attempt still holds the stage. Raises psycopg.Error, and then
        carries the same again next time."""
        while True:
            with self._file.open("rb") as file:
                file.seek(self._read)
                piece = file.read(PIECE_BYTES)
            state = self._decoder.getstate()
            text = self._decoder.decode(piece, final=to_the_end and len(piece) < PIECE_BYTES).replace("\0", "\ufffd")
            try:
                held = self._add(text)
            except BaseException:
                self._decoder.setstate(state)
                raise
            self._read += len(piece)
            if not held or len(piece) < PIECE_BYTES:
                return held

    def _add(self, text: str) -> bool:
        values = {"stage_id": self._stage_id, "attempt": self._attempt, "seq": self._seq, "content": text}
        with self._database.single() as connection:
            row = connection.execute(_ADD, values).fetchone()
        self._seq += bool(text)
        return bool(row and row[0])


@dataclass(frozen=True, slots=True)
class Piece:
    """Of the log of one attempt; the id of a piece is `<attempt>-<seq>`."""

    attempt: int
    seq: int
    content: str


def pieces_after(connection: Raw, stage_id: UUID, attempt: int, seq: int, limit: int = 50) -> list[Piece]:
    """The next pieces after one, oldest first; (0, -1) begins at the beginning."""
    values = {"stage_id": stage_id, "attempt": attempt, "seq": seq, "limit": limit}
    return [Piece(*row) for row in connection.execute(_READ, values).fetchall()]  # type: ignore[arg-type]


def all_pieces(connection: Raw, stage_id: UUID) -> Iterator[Piece]:
    attempt, seq = 0, -1
    while found := pieces_after(connection, stage_id, attempt, seq):
        yield from found
        attempt, seq = found[-1].attempt, found[-1].seq
