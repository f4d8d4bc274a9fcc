"""Values as they stand on the wire: times, durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.domain.durations import wire_duration


def instant(value: datetime) -> str:
    """RFC 3339 in UTC with `Z`, in milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_or_none(value: datetime | None) -> str | None:
    return None if value is None else instant(value)


def duration_or_none(value: timedelta | None) -> str | None:
    return None if value is None else wire_duration(value)
