"""Migrations make what the models say, and can be taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect

from app.infrastructure.db import migrate
from app.infrastructure.db.models import Base


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def migrated(database_url: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url(database_url))
    yield engine
    engine.dispose()


def differences(connection: Connection) -> list[Any]:
    """Between the database and the models. An index over an expression reads otherwise when it comes back from
    PostgreSQL, so that it seems to be removed and added: there under the same name is as far as it is compared."""
    found: list[Any] = list(compare_metadata(MigrationContext.configure(connection), Base.metadata))
    seen = Counter((each[1].name, each[1].table.name) for each in found if each[0] in ("add_index", "remove_index"))
    return [
        each
        for each in found
        if each[0] not in ("add_index", "remove_index") or seen[each[1].name, each[1].table.name] < 2
    ]


def test_the_tables_are_those_of_the_models(migrated: Engine) -> None:
    with migrated.connect() as connection:
        assert differences(connection) == []


def test_the_way_down_and_up_again_ends_where_it_began(empty_database_url: str) -> None:
    url = sqlalchemy_url(empty_database_url)
    migrate.upgrade(url)
    config = Config()
    config.set_main_option("script_location", str(migrate.HERE / "migrations"))
    config.attributes["url"] = url
    command.downgrade(config, "base")
    engine = create_engine(url)
    try:
        assert set(inspect(engine).get_table_names()) == {"alembic_version"}
        migrate.upgrade(url)
        with engine.connect() as connection:
            assert differences(connection) == []
    finally:
        engine.dispose()
