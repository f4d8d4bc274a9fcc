"""Typed values out of untrusted mappings, with every complaint collected under its field."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from app.domain.durations import Amount, parse_amount, parse_duration
from app.domain.errors import Invalid

T = TypeVar("T")


def shortened(text: str) -> str:
    """What a message repeats of somebody's input."""
    return text if len(text) <= 80 else text[:79] + "…"


class FieldReader:
    """Takes typed values out of a mapping and collects every complaint under its dotted path."""

    def __init__(self, body: object, prefix: str, errors: dict[str, list[str]] | None = None) -> None:
        self.errors: dict[str, list[str]] = {} if errors is None else errors
        self.prefix = prefix
        self._seen: set[str] = set()
        self.body: Mapping[Any, Any] = {}
        if isinstance(body, Mapping):
            self.body = body
        else:
            self.errors.setdefault(prefix.rstrip("."), []).append("must be a mapping")

    def complain(self, key: str, message: str) -> None:
        self.errors.setdefault(self.prefix + key, []).append(message)

    def absent(self, key: str) -> bool:
        return self.take(key) is None

    def take(self, key: str) -> Any:
        self._seen.add(key)
        return self.body.get(key)

    def section(self, key: str) -> FieldReader:
        value = self.take(key)
        return FieldReader({} if value is None else value, f"{self.prefix}{key}.", self.errors)

    def _parsed(self, key: str, default: T, parse: Callable[[Any], T]) -> T:
        value = self.take(key)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.complain(key, str(error))
            return default

    def word(self, key: str, kind: type[T], default: T) -> T:
        def parse(value: object) -> T:
            words = {str(member).lower(): member for member in kind}  # type: ignore[attr-defined]
            if not isinstance(value, str) or value.lower() not in words:
                raise ValueError("must be one of " + ", ".join(str(member) for member in words.values()))
            found: T = words[value.lower()]
            return found

        return self._parsed(key, default, parse)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        def parse(value: object) -> int:
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"must be a whole number from {least} to {most}")
            return value

        return self._parsed(key, default, parse)

    def flag(self, key: str, *, default: bool) -> bool:
        def parse(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value

        return self._parsed(key, default, parse)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        def parse(value: object) -> tuple[str, ...]:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValueError("must be a list of words")
            return tuple(value)

        return self._parsed(key, default, parse)

    def duration(self, key: str, default: timedelta) -> timedelta:
        return self._parsed(key, default, parse_duration)

    def amount(self, key: str, default: Amount) -> Amount:
        return self._parsed(key, default, parse_amount)

    def unknown_keys(self) -> None:
        for key in self.body:
            if key not in self._seen:
                name = shortened(key) if isinstance(key, str) else f"a key of type {type(key).__name__}"
                near = difflib.get_close_matches(name, sorted(self._seen), n=1)
                self.complain(name, "is not a field" + (f"; did you mean {near[0]}?" if near else ""))

    def finish(self) -> None:
        if self.errors:
            raise Invalid(self.errors)
