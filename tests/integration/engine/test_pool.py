"""The pool of connections over a server that restarts."""

from __future__ import annotations

from contextlib import ExitStack

from sqlalchemy import text

from tests.integration.engine.conftest import Lab


def test_no_connection_from_before_a_restart_is_given_out(lab: Lab) -> None:
    database = lab.orchestrator.database
    with ExitStack() as held:
        old = [held.enter_context(database.raw()).info.backend_pid for _ in range(4)]
    with database.raw() as connection:
        ended = connection.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                                   " where pid = any(%s) and pid <> pg_backend_pid()", (old,)).fetchall()  # fmt: skip
    assert ended == [(True,)] * 3
    with ExitStack() as held:
        for _ in range(2):
            assert held.enter_context(database.session()).execute(text("select 1")).scalar() == 1
            assert held.enter_context(database.raw()).execute("select 1").fetchone() == (1,)
