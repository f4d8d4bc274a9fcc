"""Servers that are not ours: whether they can be used, said before anything is started."""

from urllib.parse import urlsplit

import psycopg
import redis

from config.settings import Settings
from deploy.local.errors import StackError

_TIMEOUT = 5


class ExternalServerError(StackError):
    """A server named by a setting cannot be used."""


def check_database(settings: Settings) -> None:
    """Log in. Raises ExternalServerError."""
    try:
        psycopg.connect(settings.database_url, connect_timeout=_TIMEOUT).close()
    except psycopg.Error as error:
        reason = " ".join(str(error).split())[:200]
        raise ExternalServerError(f"cannot use the database of HOTSWAP_DATABASE_URL: {reason}") from None


def check_broker(settings: Settings) -> None:
    """Log in and PING. Raises ExternalServerError."""
    try:
        with redis.Redis.from_url(
            settings.broker_url, socket_connect_timeout=_TIMEOUT, socket_timeout=_TIMEOUT
        ) as client:
            client.ping()
    except redis.RedisError as error:
        where = urlsplit(settings.broker_url)
        raise ExternalServerError(
            f"cannot use the broker of HOTSWAP_BROKER_URL at {where.hostname}:{where.port or 6379}: {error}"
        ) from None
