"""The texts, from a JSON file that is read again when it changes."""

from __future__ import annotations

import json
import threading
from pathlib import Path


class GreetingsUnusable(Exception):
    """The file cannot be read or holds no greetings; the text says which."""


class Greetings:
    """Language -> text with `{name}` in it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._read_at: tuple[int, int] | None = None
        self._texts: dict[str, str] = {}

    def greet(self, name: str, language: str) -> str:
        """A greeting, in English where the language is not known; raises `GreetingsUnusable`."""
        texts = self._current()
        return texts.get(language, texts["en"]).replace("{name}", name)

    def check(self) -> None:
        """Raise `GreetingsUnusable` if nobody could be greeted now."""
        self._current()

    def _current(self) -> dict[str, str]:
        with self._lock:
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._read_at:
                    self._texts = _checked(json.loads(self._path.read_text("utf-8")))
                    self._read_at = stamp
            except (OSError, ValueError) as error:
                self._read_at = None
                raise GreetingsUnusable(f"cannot read the greetings in {self._path}: {error}") from error
            return self._texts


def _checked(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("not a mapping of languages to texts")
    if "en" not in value:
        raise ValueError("no text for 'en'")
    return value
