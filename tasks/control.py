"""Ticks: short, safe to run twice, triggered by beat."""

from __future__ import annotations

import time

import redis
from celery import shared_task

from app.orchestrator import repairing
from workers import process

BEAT_KEY = "hotswap:beat:ticked"
"""Redis key that holds the Unix time of the last tick that a worker executed; gone a minute after the last one."""


@shared_task(name="control.repair_drift", ignore_result=True)
def repair_drift() -> int:
    return repairing.repair(process.current().orchestrator)


@shared_task(name="control.record_beat", ignore_result=True)
def record_beat() -> None:
    settings = process.current().orchestrator.settings
    with redis.Redis.from_url(
        settings.redis_url, socket_timeout=settings.redis_timeout, socket_connect_timeout=settings.redis_connect_timeout
    ) as client:
        client.set(BEAT_KEY, repr(time.time()), ex=60)
