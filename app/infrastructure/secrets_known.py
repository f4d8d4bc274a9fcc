"""What the settings of this process say that nobody may read: in no log line, span or error report."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from agent.telemetry import otlp
from agent.telemetry.redaction import Redactor
from config.settings import Settings

_URLS = ("database_url", "broker_url", "result_url", "redis_url")


def redactor_of(settings: Settings) -> Redactor:
    """Takes them out of texts."""
    return Redactor(_secrets(settings))


def _secrets(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
    for name in _URLS:
        password = urlsplit(getattr(settings, name)).password
        if password:
            yield password
            yield unquote(password)
    if settings.otlp_headers is not None:
        yield from otlp.parse_headers(settings.otlp_headers.get_secret_value()).values()
