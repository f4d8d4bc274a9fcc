"""The agent's configuration: one TOML file, described in docs/agent.md."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.archive import Limits as ArchiveLimits
from agent.telemetry.log_lines import FORMATS, LEVELS
from agent.telemetry.otlp import ENDPOINT_VARIABLE, HEADERS_VARIABLE, parse_headers

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ConfigInvalid(ValueError):
    """A configuration that the agent cannot start with; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CA that both sides trust, and this node's own certificate and key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Bounds of what the agent takes, keeps and does at a time. Sizes in bytes, times in seconds."""

    log_bytes: int = 4 * 1024**2
    concurrent_requests: int = 64
    body_bytes: int = 1024**2
    connect_timeout: float = 3.0
    request_timeout: float = 10.0
    read_timeout: float = 15.0
    stop_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """How the agent tells what it does. Without `otlp_endpoint`, the base address of a collector, it sends no spans."""

    log_level: str = "info"
    log_format: str = "auto"
    otlp_endpoint: str = ""
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything an agent is told at its start."""

    node_id: str
    environment: str
    hostname: str
    data_dir: Path
    listen_host: str
    listen_port: int
    advertise: str
    trusted_keys: Path
    orchestrator_urls: tuple[str, ...]
    tls: TlsFiles
    attestation_keys: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    path: str = DEFAULT_PATH
    keep_releases: int = 5
    map_listen: bool = False
    map_destinations: bool = False
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    limits: AgentLimits = field(default_factory=AgentLimits)
    telemetry: Telemetry = field(default_factory=Telemetry)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.data_dir / "journal.sqlite3"

    @property
    def holder_socket(self) -> Path:
        """Where the holder listens."""
        return self.data_dir / "holder.sock"

    @property
    def control_socket(self) -> Path:
        """Where the agent takes `stop` from the same machine."""
        return self.data_dir / "control.sock"


class _Table:
    """Typed reading of one TOML table; what is wrong is named with its whole path."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = dict(values)
        self._where = where

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        """The value, of that type, or the default; without a default it has to be there."""
        value = self._values.pop(name, default)
        if value is None:
            raise ConfigInvalid(f"{self._where}{name} is missing")
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise ConfigInvalid(f"{self._where}{name} is not of type {kind.__name__}")
        return value

    def table(self, name: str) -> _Table:
        """A nested table, empty where it is left out."""
        return _Table(self.take(name, dict, {}), f"{self._where}{name}.")

    def rest(self) -> dict[str, Any]:
        """What nobody took."""
        return self._values

    def done(self) -> None:
        """Refuse what nobody took: a misspelt setting must not be silently ignored."""
        if self._values:
            raise ConfigInvalid(f"unknown settings: {', '.join(self._where + name for name in self._values)}")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigInvalid(f"listen is not HOST:PORT: {text!r}")
    return host.strip("[]"), int(port)


def _telemetry(told: _Table) -> Telemetry:
    level, format_ = told.take("log_level", str, "info"), told.take("log_format", str, "auto")
    if level not in LEVELS or format_ not in FORMATS:
        raise ConfigInvalid(f"telemetry.log_level is one of {', '.join(LEVELS)}, log_format of {', '.join(FORMATS)}")
    endpoint = told.take("otlp_endpoint", str, os.environ.get(ENDPOINT_VARIABLE, ""))
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigInvalid(f"telemetry.otlp_endpoint is no http:// or https:// address: {endpoint!r}")
    headers = told.take("otlp_headers", dict, parse_headers(os.environ.get(HEADERS_VARIABLE, "")))
    return Telemetry(level, format_, endpoint, {name: str(value) for name, value in headers.items()})


def load_config(file: Path) -> AgentConfig:
    """Read a configuration file. Raises `ConfigInvalid`."""
    try:
        root = _Table(tomllib.loads(file.read_text()), "")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"cannot read {file}: {error}") from error
    base = file.resolve().parent
    host, port = _address(root.take("listen", str, "127.0.0.1:0"))
    tls, orchestrator, local, limits, told = (
        root.table(name) for name in ("tls", "orchestrator", "local", "limits", "telemetry")
    )
    urls = orchestrator.take("urls", list)
    if not urls or not all(isinstance(url, str) and url.startswith("https://") for url in urls):
        raise ConfigInvalid("orchestrator.urls is not a list of https:// addresses")
    archive, own = ArchiveLimits(), AgentLimits()
    config = AgentConfig(
        node_id=root.take("node_id", str),
        environment=root.take("environment", str),
        hostname=root.take("hostname", str, socket.gethostname()),
        data_dir=base / root.take("data_dir", str),
        listen_host=host,
        listen_port=port,
        advertise=root.take("advertise", str, host),
        trusted_keys=base / root.take("trusted_keys", str),
        orchestrator_urls=tuple(url.rstrip("/") for url in urls),
        tls=TlsFiles(*(base / tls.take(name, str) for name in ("ca", "certificate", "key"))),
        attestation_keys=base / attested if (attested := root.take("attestation_keys", str, "")) else None,
        labels={name: str(value) for name, value in root.take("labels", dict, {}).items()},
        path=root.take("path", str, DEFAULT_PATH),
        keep_releases=root.take("keep_releases", int, 5),
        map_listen=local.take("map_listen", bool, False),
        map_destinations=local.take("map_destinations", bool, False),
        archive=ArchiveLimits(
            archive_bytes=limits.take("archive_bytes", int, archive.archive_bytes),
            unpacked_bytes=limits.take("unpacked_bytes", int, archive.unpacked_bytes),
            entries=limits.take("entries", int, archive.entries),
            ratio=limits.take("ratio", float, archive.ratio),
        ),
        limits=AgentLimits(
            log_bytes=limits.take("log_bytes", int, own.log_bytes),
            concurrent_requests=limits.take("concurrent_requests", int, own.concurrent_requests),
            body_bytes=limits.take("body_bytes", int, own.body_bytes),
            connect_timeout=limits.take("connect_timeout", float, own.connect_timeout),
            request_timeout=limits.take("request_timeout", float, own.request_timeout),
            read_timeout=limits.take("read_timeout", float, own.read_timeout),
            stop_timeout=limits.take("stop_timeout", float, own.stop_timeout),
        ),
        telemetry=_telemetry(told),
    )
    for table in (root, tls, orchestrator, local, limits, told):
        table.done()
    return config
