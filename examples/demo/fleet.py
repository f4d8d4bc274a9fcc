"""The nodes of an environment: as the API tells of them, and as they answer themselves."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from examples.demo.command import Hotswap
from examples.demo.load import Endpoint
from examples.demo.releases import MODULE

_ANSWER_LIMIT = 15.0  # seconds


@dataclass(frozen=True)
class Fleet:
    """Who runs what: node -> version as the API has it, and where each answers."""

    versions: dict[str, str]
    endpoints: tuple[Endpoint, ...]

    def running(self, version: str) -> int:
        """On how many nodes the API says that this version is active."""
        return list(self.versions.values()).count(version)

    def answering(self, version: str) -> int:
        """From how many nodes this version answers when they are asked themselves, over a new connection."""
        return sum(asked_version(endpoint) == version for endpoint in self.endpoints)


def fleet_of(hotswap: Hotswap, environment: str) -> Fleet:
    """What the API says of an environment's nodes. Raises DemoFailed."""
    cluster: dict[str, Any] = hotswap.ask("cluster", "show", environment)
    versions, endpoints = {}, []
    for node in sorted(cluster["nodes"], key=lambda node: str(node["hostname"])):
        for release in node["releases"]:
            if release["moduleName"] == MODULE:
                versions[str(node["hostname"])] = str(release["version"])
                endpoints.append(Endpoint(str(node["hostname"]), str(release["endpoint"])))
    return Fleet(versions, tuple(endpoints))


def asked_version(endpoint: Endpoint) -> str:
    """The version that answers there now, or the reason why none does."""
    address = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ANSWER_LIMIT)
    try:
        connection.request("GET", "/version", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return answer.headers.get("X-Module-Version") or f"status {answer.status} without a version"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__} {error}"
    finally:
        connection.close()
