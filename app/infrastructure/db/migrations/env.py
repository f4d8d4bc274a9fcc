"""Alembic's entry: runs migrations over the URL that `migrate.upgrade` gives, one process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text

from app.infrastructure.db.models import Base

_ONE_AT_A_TIME = 0x486F7453776170  # "HotSwap"

engine = create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": _ONE_AT_A_TIME})
    connection.commit()
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _ONE_AT_A_TIME})
engine.dispose()
