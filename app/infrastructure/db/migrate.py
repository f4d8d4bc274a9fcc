"""Bring the database's schema up to date: `python -m app.infrastructure.db.migrate`."""

from __future__ import annotations

import sys
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

from app.infrastructure.observing import begin_observing
from config.settings import settings_or_exit

HERE = Path(__file__).parent


def upgrade(sqlalchemy_url: str) -> None:
    """Run every migration that is missing, under an advisory lock, so that two starts at once are harmless."""
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.attributes["url"] = sqlalchemy_url
    command.upgrade(config, "head")


def main() -> int:
    settings = settings_or_exit()
    begin_observing(settings, service="migrate")
    try:
        upgrade(settings.sqlalchemy_url)
    except sqlalchemy.exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        print(f"hotswap: cannot reach the database of HOTSWAP_DATABASE_URL: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
