"""gunicorn's settings for the public API: `gunicorn --config config/gunicorn_api.py app.api.wsgi:application`."""

from typing import Any

from config.settings import settings_or_exit

_settings = settings_or_exit()

bind = [f"{_settings.host}:{_settings.port}"]
worker_class = "app.api.server.Worker"
workers = _settings.api_processes
threads = _settings.api_threads  # each stream of events holds one
preload_app = True  # one copy of the imports in memory; nothing may connect at import
timeout = 60
graceful_timeout = 4  # streams have no end of their own
keepalive = 30
backlog = 1024
control_socket_disable = True  # it would lie in the home folder
errorlog = "-"
logger_class = "app.infrastructure.gunicorn_lines.Lines"
proc_name = "api"
loglevel = _settings.log_level
# What proxies on this machine say of the client is believed, nobody else's word.
forwarded_allow_ips = "127.0.0.1"


def child_exit(server: Any, worker: Any) -> None:
    """A worker's gauges end with it."""
    import os

    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
