"""The agents' listener for a WSGI server: `gunicorn app.api.agent_wsgi:application`, with mutual TLS."""

from __future__ import annotations

from app.api.agent_application import create_agent_app
from app.api.starting import started
from app.infrastructure.outbox import SilentPublisher
from app.infrastructure.presence import AGENT_LISTENER

application = started(create_agent_app, SilentPublisher(), role=AGENT_LISTENER)
