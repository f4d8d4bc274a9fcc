"""gunicorn's own lines among ours: named by `logger_class` in config/gunicorn_api.py and config/gunicorn_agents.py."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger

from app.infrastructure.observing import begin_observing
from config.settings import settings_or_exit


class Lines(Logger):  # type: ignore[misc]
    """What gunicorn has to say goes to the root logger, whose handler writes lines. Requests are told by the API."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        begin_observing(settings_or_exit(), service=cfg.proc_name)
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
