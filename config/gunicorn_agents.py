"""gunicorn's settings for the agents' listener: mutual TLS, nobody without a certificate of our CA.

`gunicorn --config config/gunicorn_agents.py app.api.agent_wsgi:application`
"""

import gc
import ssl
from collections.abc import Callable
from typing import Any

from config.gunicorn_api import child_exit
from config.settings import settings_or_exit

__all__ = ["child_exit"]

_settings = settings_or_exit()

bind = [f"{_settings.agent_host}:{_settings.agent_port}"]
worker_class = "app.api.server.Worker"
workers = 1
threads = _settings.agent_threads  # an artifact's download holds one
preload_app = True
timeout = 60
graceful_timeout = 3
keepalive = 75
backlog = 1024
control_socket_disable = True
errorlog = "-"
logger_class = "app.infrastructure.gunicorn_lines.Lines"
proc_name = "agent-listener"
loglevel = _settings.log_level
certfile = str(_settings.tls_certificate)
keyfile = str(_settings.tls_key)
ca_certs = str(_settings.tls_ca)
cert_reqs = ssl.CERT_REQUIRED


def post_fork(server: Any, worker: Any) -> None:
    """What was imported stays: the collector need not look through all of it again and again."""
    gc.freeze()


def ssl_context(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.3 only, as agents speak it."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # agents keep their connection and resume no session
    return context
