"""What is answered: pure of sockets and threads, so that it is easy to test."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from greeter.greetings import Greetings, GreetingsUnusable
from greeter.metrics import Metrics

_LEAST_FREE_BYTES = 1024 * 1024
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """A response: status, body and its type; `route` is the label in the metrics, None for what is not counted."""

    status: int
    body: bytes
    content_type: str
    route: str | None


class Service:
    """One version of one module."""

    def __init__(
        self, module: str, version: str, greetings: Greetings, data_folder: str | None, metrics: Metrics
    ) -> None:
        self.module = module
        self.version = version
        self.metrics = metrics
        self._greetings = greetings
        self._data_folder = data_folder
        self._complaint: str | None = None

    def answer(self, method: str, target: str, body: bytes, connections: int) -> Answer:
        """The response to a request for `target` (path and query)."""
        try:
            url = urlsplit(target)
        except ValueError:  # such as an unclosed [ of an IPv6 address
            return self.refusal(400, "that is no path")
        match method, url.path:
            case "GET" | "HEAD", "/healthz":
                return self._health()
            case "GET" | "HEAD", "/metrics":
                text = self.metrics.text(self.version, connections)
                return Answer(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8", None)
            case "GET" | "HEAD", "/version":
                return self._json({"module": self.module, "version": self.version}, "/version")
            case "GET" | "HEAD", "/" | "/greet":
                query = parse_qs(url.query)
                return self._greet(query.get("name", ["world"])[0], query.get("language", ["en"])[0], url.path)
            case "POST", "/greet":
                return self._greet_posted(body)
            case _, "/" | "/greet" | "/healthz" | "/metrics" | "/version":
                return self.refusal(405, "this path does not take that method")
        return self.refusal(404, "there is nothing here")

    def refusal(self, status: int, reason: str) -> Answer:
        """An error, with the version that gave it."""
        return Answer(status, f"{reason} (version {self.version})\n".encode(), _TEXT, "other")

    def _greet(self, name: str, language: str, route: str) -> Answer:
        try:
            text = self._greetings.greet(name[:100], language)
        except GreetingsUnusable as error:
            return Answer(503, f"{error} (version {self.version})\n".encode(), _TEXT, route)
        return Answer(200, f"{text} (version {self.version})\n".encode(), _TEXT, route)

    def _greet_posted(self, body: bytes) -> Answer:
        try:
            value = json.loads(body)
            name, language = value["name"], value.get("language", "en")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            name = language = None
        if not isinstance(name, str) or not isinstance(language, str):
            return Answer(400, f'wanted is {{"name": "..."}} (version {self.version})\n'.encode(), _TEXT, "/greet")
        return self._greet(name, language, "/greet")

    def _json(self, value: object, route: str | None) -> Answer:
        return Answer(200, json.dumps(value).encode() + b"\n", "application/json", route)

    def _health(self) -> Answer:
        complaint = self._find_complaint()
        if complaint != self._complaint:
            # Once per change: who looks for the reason finds it, and a health check every 200 ms fills no log.
            print("healthy again" if complaint is None else f"unhealthy: {complaint}", flush=True)
            self._complaint = complaint
        if complaint is not None:
            return Answer(503, f"{complaint} (version {self.version})\n".encode(), _TEXT, None)
        return Answer(200, f"ok (version {self.version})\n".encode(), _TEXT, None)

    def _find_complaint(self) -> str | None:
        """What keeps this process from serving, None if nothing does."""
        try:
            self._greetings.check()
        except GreetingsUnusable as error:
            return str(error)
        if self._data_folder is None:
            return None
        if not os.access(self._data_folder, os.W_OK | os.X_OK):
            return f"cannot write to the data folder {self._data_folder}"
        space = os.statvfs(self._data_folder)
        if space.f_bavail * space.f_frsize < _LEAST_FREE_BYTES:
            return f"less than {_LEAST_FREE_BYTES} bytes are free in {self._data_folder}"
        return None
