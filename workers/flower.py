"""The Celery application for Flower (`celery -A workers.flower flower`), which sets up no loggers itself."""

from __future__ import annotations

from app.infrastructure.observing import begin_observing
from workers.celery_app import app as app
from workers.celery_app import settings

begin_observing(settings, service="flower")
