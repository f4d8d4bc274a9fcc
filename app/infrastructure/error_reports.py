"""Reports of errors to Sentry, where a DSN is set: what is logged at level error, from every process.

Ours is the only thing that reports: none of Sentry's integrations is used, which would add requests, headers and
values of variables. What is bound where the error happened becomes tags, by the same names as in log lines.
Everything passes the same redaction. Sentry's own thread sends, its queue is bounded, and nobody waits for it.
Without a DSN nothing of it is imported.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.telemetry import context, log_lines, spans
from agent.telemetry.names import Field
from agent.telemetry.redaction import Redactor
from app.infrastructure.secrets_known import redactor_of
from config.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

FAREWELL = 2.0  # seconds for what is queued when the process ends
_LONGEST_TAG = 200
_KEPT = frozenset(
    ("event_id", "timestamp", "level", "logger", "platform", "message", "logentry", "exception", "tags", "server_name",
     "release", "environment", "sdk", "contexts", "type")
)  # fmt: skip


def configure_error_reports(settings: Settings, *, service: str) -> None:
    """Report this process's errors to the Sentry of the settings; without a DSN nothing happens and nothing costs."""
    if settings.sentry_dsn is None:
        return
    import sentry_sdk

    redactor = redactor_of(settings)

    def scrubbed(event: Event, _hint: Hint) -> Event | None:
        return scrub(event, redactor)

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.instance,
        before_send=scrubbed,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[],
        include_local_variables=False,
        max_request_body_size="never",
        send_default_pii=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=FAREWELL,
    )
    atexit.register(farewell)
    logging.getLogger("sentry_sdk.errors").setLevel(logging.CRITICAL)  # Sentry that is away is no error of ours
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _Reporting)]
    root.addHandler(_Reporting({Field.SERVICE.value: service, Field.INSTANCE.value: settings.instance}))
    sys.excepthook = _report_and(sys.excepthook)


def farewell() -> None:
    """A moment for what is queued; nothing where no DSN is set."""
    if "sentry_sdk" in sys.modules:
        sys.modules["sentry_sdk"].flush(timeout=FAREWELL)


def scrub(event: Event, redactor: Redactor) -> Event:
    """Only what we mean to send of an event, with every name and text looked at; no frame with values of variables."""
    kept = {name: value for name, value in event.items() if name in _KEPT}
    for thrown in (kept.get("exception") or {}).get("values") or ():  # type: ignore[attr-defined]
        for frame in (thrown.get("stacktrace") or {}).get("frames") or ():
            frame.pop("vars", None)
    return redactor.whole(kept)  # type: ignore[return-value]


class _Reporting(logging.Handler):
    """Beside the handler that writes lines."""

    def __init__(self, always: Mapping[str, str]) -> None:
        super().__init__(logging.ERROR)
        self._always = dict(always)

    def emit(self, record: logging.LogRecord) -> None:
        """A failure to report must not become one of what is reported."""
        try:
            self._report(record)
        except Exception:
            self.handleError(record)

    def _report(self, record: logging.LogRecord) -> None:
        import sentry_sdk
        from sentry_sdk.utils import event_from_exception

        said: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else {}
        text = str(said["event"]) if said else record.getMessage()
        event: dict[str, Any] = {}
        hint: dict[str, Any] = {}
        thrown = _thrown(said.get("exc_info") or record.exc_info)
        if thrown is not None:
            client = sentry_sdk.get_client()
            made, hint = event_from_exception(thrown, client_options=client.options)
            event = dict(made)
        names = {name: value for name, value in record.__dict__.items() if name in log_lines.EXTRAS}
        event |= {"level": record.levelname.lower(), "logger": record.name, "logentry": {"message": text}}
        event["tags"] = self._tags({**context.current(), **names, **said})
        sentry_sdk.capture_event(event, hint=hint)  # type: ignore[arg-type]

    def _tags(self, said: Mapping[str, Any]) -> dict[str, str]:
        known = {name: value for name, value in said.items() if name in log_lines.EXTRAS or name == Field.MODULE}
        for name in (Field.TIME, Field.LEVEL, Field.EVENT, Field.LOGGER, Field.EXCEPTION):
            known.pop(name.value, None)
        here = spans.current()
        place = {} if here is None else {Field.TRACE_ID.value: here.trace_id}
        return {name: str(value)[:_LONGEST_TAG] for name, value in {**self._always, **place, **known}.items()}


def _thrown(said: Any) -> Any:
    if said is True:
        return sys.exc_info()
    return said if isinstance(said, BaseException | tuple) and said != (None, None, None) else None


def _report_and(before: Any) -> Any:
    """What ends the process is an error, too."""
    log = logging.getLogger("hotswap")

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            log.critical("the process ends: %s", kind.__name__, exc_info=(kind, error, trace))
        else:
            before(kind, error, trace)

    return hook
