"""The public application for a WSGI server: `gunicorn app.api.wsgi:application`."""

from __future__ import annotations

from app.api.application import create_app
from app.api.starting import started
from app.infrastructure.publisher import BackgroundPublisher
from workers.celery_app import publishing

application = started(create_app, BackgroundPublisher(publishing))
