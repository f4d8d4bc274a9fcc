"""The proof that beat ticks: a tick that went from beat over the broker to a worker leaves a key that expires."""

from __future__ import annotations

import time

import redis

from config.settings import Settings

BEAT_KEY = "hotswap:beat:ticked"
BEAT_KEY_SECONDS = 60


def record(settings: Settings) -> None:
    """Leave the proof. Raises redis.RedisError."""
    with redis.Redis.from_url(
        settings.redis_url, socket_timeout=settings.redis_timeout, socket_connect_timeout=settings.redis_connect_timeout
    ) as client:
        client.set(BEAT_KEY, repr(time.time()), ex=BEAT_KEY_SECONDS)
