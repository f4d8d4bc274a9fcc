"""The nodes of an environment: as the API tells of them, and as they answer themselves."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from examples.demo.command import Hotswap
from examples.demo.load import Endpoint

_ANSWER_LIMIT = 15.0  # seconds


@dataclass(frozen=True)
class Fleet:
    """Who runs what: node -> version as the API has it, the digests of these, and where each answers."""

    versions: dict[str, str]
    digests: frozenset[str]
    endpoints: tuple[Endpoint, ...]

    def running(self, version: str) -> int:
        """On how many nodes the API says that this version is active."""
        return list(self.versions.values()).count(version)

    def answering(self, version: str) -> int:
        """From how many nodes this version answers when they are asked themselves, over a new connection."""
        return sum(asked_version(endpoint) == version for endpoint in self.endpoints)

    def saying(self, line: str) -> int:
        """From how many nodes the page at `/` is this one line."""
        return sum(_page(endpoint) == f"{line}\n" for endpoint in self.endpoints)


def fleet_of(hotswap: Hotswap, environment: str, module: str) -> Fleet:
    """What the API says of an environment's nodes that run the module. Raises DemoFailed."""
    cluster: dict[str, Any] = hotswap.ask("cluster", "show", environment)
    versions, digests, endpoints = {}, set(), []
    for node in sorted(cluster["nodes"], key=lambda node: str(node["hostname"])):
        for release in node["releases"]:
            if release["moduleName"] == module:
                versions[str(node["hostname"])] = str(release["version"])
                digests.add(str(release["digest"]))
                endpoints.append(Endpoint(str(node["hostname"]), str(release["endpoint"])))
    return Fleet(versions, frozenset(digests), tuple(endpoints))


def asked_version(endpoint: Endpoint) -> str:
    """The version that answers there now, or the reason why none does."""
    try:
        status, headers, _ = _asked(endpoint, "/version")
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__} {error}"
    return headers.get("X-Module-Version") or f"status {status} without a version"


def _page(endpoint: Endpoint) -> str:
    try:
        return _asked(endpoint, "/")[2].decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__} {error}"


def _asked(endpoint: Endpoint, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers, body; over a new connection. Raises OSError, HTTPException."""
    address = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ANSWER_LIMIT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
