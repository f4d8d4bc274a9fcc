"""The yardstick of the pipeline benchmark: a bare Celery chain of six no-ops, with settings as durable as it has."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("chain", broker=os.environ["HOTSWAP_BROKER_URL"], backend=os.environ["HOTSWAP_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    task_default_queue="chain",
    task_serializer="json",
    accept_content=["json"],
)


@app.task
def step(done: int, number: int) -> int:
    return number
