"""The Celery application: queues, routing, time limits, signatures. Started as `celery -A workers.celery_app ...`.

A message holds ids only and is no more than a wake-up: losing, repeating or reordering any loses and repeats nothing.
Celery's results are for operators and Flower; nothing waits on them.
"""

from __future__ import annotations

from celery import Celery
from kombu.entity import Exchange, Queue

from app.orchestrator.dispatching import QUEUES
from config.settings import settings_or_exit
from workers import lifecycle, signing, tracing
from workers.schedule import SCHEDULE

settings = settings_or_exit()


def _application(name: str, backend: str, *, current: bool) -> Celery:
    made = Celery(name, broker=settings.broker_url, backend=backend, task_cls="tasks.base:Work", set_as_current=current)
    made.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        timezone="UTC",
        task_default_queue="control",
        # Named whole: a queue without an exchange of its own would get every message of the default one.
        task_queues=[
            Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]
            for name in QUEUES
        ],
        task_create_missing_queues=True,
        # A message is acknowledged after its work; a worker that dies under it leaves it to others. Attempts are
        # bounded in the database, which also makes a second delivery harmless.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        worker_prefetch_multiplier=1,
        # No countdown or ETA is ever used: Redis would deliver those again after the visibility timeout.
        broker_transport_options={
            "visibility_timeout": 3600,
            "socket_timeout": settings.redis_timeout,
            "socket_connect_timeout": settings.redis_connect_timeout,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        redis_socket_timeout=settings.redis_timeout,
        redis_socket_connect_timeout=settings.redis_connect_timeout,
        redis_retry_on_timeout=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=settings.redis_connect_timeout,
        result_expires=24 * 3600,
        task_ignore_result=False,
        task_store_errors_even_if_ignored=False,
        # Prefork only; on thread pools the use cases' own deadlines count.
        task_time_limit=960,
        task_soft_time_limit=930,
        worker_soft_shutdown_timeout=4,
        worker_enable_soft_shutdown_on_idle=False,
        worker_proc_alive_timeout=60,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_max_memory_per_child=400_000,
        imports=("tasks.pipeline", "tasks.deploy", "tasks.urgent", "tasks.control"),
        beat_schedule=SCHEDULE,
        beat_max_loop_interval=5,
    )
    return made


app = _application("hotswap", settings.result_url, current=True)
publishing = _application("hotswap-publishing", "disabled://", current=False)
"""For those who only send wake-ups: it asks for no results."""

signing.install(settings.task_secret.get_secret_value())
tracing.install()
lifecycle.install()
