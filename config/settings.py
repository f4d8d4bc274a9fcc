"""Every setting of the orchestrator, from the environment, in one place.

Each field `name` is read from `HOTSWAP_NAME`, or from the file that `HOTSWAP_NAME_FILE` names (for secrets that are
mounted as files; a line end at its end is dropped). Durations are seconds, sizes bytes. There is no default for what
must be secret. `load()` raises SettingsError, whose text is one line for the person who starts a process.
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

PREFIX = "HOTSWAP_"
EXIT_CODE = 2
_SHORTEST_SECRET = 32
_FEWEST_CHARACTERS = 10
_MIB = 1024 * 1024
# What has a variable that everybody knows, which counts where ours is not set.
_STANDARD = {"otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_headers": "OTEL_EXPORTER_OTLP_HEADERS"}
# What takes another setting's value when it is not set itself.
_FOLLOWS = {"result_url": "broker_url", "redis_url": "broker_url", "task_secret": "jwt_secret"}


class SettingsError(Exception):
    """A setting is missing or unusable. The text is one line that names each and says what to do."""


def _database_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: postgresql://user:password@host:5432/database") from None
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ValueError("must look like postgresql://user:password@host:5432/database")
    return url


def _redis_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: redis://:password@host:6379/0") from None
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("must look like redis://:password@host:6379/0")
    return url


def _strong(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if len(value) < _SHORTEST_SECRET or len(set(value)) < _FEWEST_CHARACTERS:
        raise ValueError(f"is too weak: at least {_SHORTEST_SECRET} random characters, e.g. from: openssl rand -hex 32")
    return secret


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must look like http://host:4318")
    return url


def _trace_url(url: str) -> str:
    if "{trace_id}" not in _http_url(url):
        raise ValueError("must have {trace_id} in it, as in http://host:16686/trace/{trace_id}")
    return url


DatabaseUrl = Annotated[str, Field(repr=False), AfterValidator(_database_url)]
RedisUrl = Annotated[str, Field(repr=False), AfterValidator(_redis_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
TraceUrl = Annotated[str, AfterValidator(_trace_url)]
StrongSecret = Annotated[SecretStr, AfterValidator(_strong)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
SandboxClaim = Literal["files", "sockets", "processes", "signals", "ending"]


def _read(environment: Mapping[str, str]) -> dict[str, str]:
    """The raw text of every field that is set; an empty variable counts as not set. Raises SettingsError."""
    found = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        value = environment.get(variable) or environment.get(_STANDARD.get(name, variable))
        file = environment.get(f"{variable}_FILE")
        if value and file:
            raise SettingsError(f"{variable} and {variable}_FILE are both set: keep one")
        if file:
            try:
                value = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{variable}_FILE: cannot read {file}: {error}") from None
        if value:
            found[name] = value
    return found


class Settings(BaseModel):
    """The orchestrator's settings; see the table in docs/operating-the-local-stack.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Where the truth, the messages and the short-lived counters are.
    database_url: DatabaseUrl
    broker_url: RedisUrl
    result_url: RedisUrl  # default: the broker
    redis_url: RedisUrl  # default: the broker

    # Secrets.
    jwt_secret: StrongSecret
    task_secret: StrongSecret  # signs Celery messages; default: the JWT secret
    access_token_lifetime: Seconds = 3600
    refresh_token_lifetime: Seconds = 14 * 24 * 3600

    # First passwords of the built-in users; only read when the user is made.
    admin_password: SecretStr | None = None
    deployer_password: SecretStr | None = None
    approver_password: SecretStr | None = None
    viewer_password: SecretStr | None = None
    given_passwords: str = ""  # users (comma) whose password above holds even if they exist: the local stack's choice
    given_at: AwareDatetime | None = None  # RFC 3339: when they were given; what was changed after that stays

    # Listeners.
    host: str = "127.0.0.1"
    port: Port = 8000
    agent_host: str = "127.0.0.1"
    agent_port: Port = 8443
    api_processes: Count = 2
    api_threads: Count = 32
    agent_threads: Count = 32
    flower_port: Port = 5555
    flower_password: SecretStr | None = None

    # Mutual TLS with agents: PEM files of the CA, of our certificate and of its key.
    tls_ca: Path
    tls_certificate: Path
    tls_key: Path

    # Folders.
    artifacts_dir: Path
    attestation_key: Path | None = None  # PEM, private: with it we attest what we build; without it nothing is built
    trusted_builders_dir: Path | None = None  # public keys (PEM) of builders whose attestations count beside our own
    work_dir: Path | None = None  # where builds and tests work; default: `work` beside the artifacts
    trusted_keys_dir: Path | None = None  # *.pub in it are trusted by every environment from the first start on

    # What an archive may be.
    archive_bytes: Count = 256 * _MIB
    archive_unpacked_bytes: Count = 512 * _MIB
    archive_entries: Count = 20_000
    archive_ratio: Count = 200
    body_bytes: Count = 1 * _MIB  # of a JSON body
    body_timeout: Seconds = 10  # in which a JSON body must have arrived

    # What a build, a test or a scanner may use, and where tools are besides the system's own.
    build_timeout: Annotated[float, Field(gt=0, le=3600)] = 3600  # a manifest may ask for less
    build_memory: Count = 2048 * _MIB
    build_disk: Count = 2048 * _MIB
    build_files: Count = 100_000
    build_processes: Count = 512
    build_tools: tuple[Path, ...] = ()  # absolute, separated by colons: readable for builds, e.g. /opt/jdk
    build_path: str = ""  # their PATH; default: the system's standard one
    # What a sandbox must hold for Build and Test to run at all, besides what the policy says of the network; separated
    # by commas, `none` for nothing. What each means, and which machines give it: docs/sandbox.md.
    sandbox_require: tuple[SandboxClaim, ...] = ("files", "processes", "ending")

    osv_data: Path | None = None  # a folder of vulnerabilities in OSV format, which Security Scan asks
    releases_kept: Annotated[int, Field(ge=0)] = 0  # of a module; older ones that nobody needs are retired; 0: all
    stage_log_retention: Annotated[float, Field(ge=86_400)] = 90 * 24 * 3600  # of what commands of stages printed

    # Time limits of calls that leave the process.
    database_connect_timeout: Seconds = 3
    database_statement_timeout: Seconds = 15
    redis_connect_timeout: Seconds = 2
    redis_timeout: Seconds = 5
    agent_connect_timeout: Seconds = 3
    agent_timeout: Seconds = 30
    health_timeout: Seconds = 2

    # Connections that one process keeps to the database.
    database_pool_size: Count = 4
    database_pool_overflow: Annotated[int, Field(ge=0)] = 4
    database_pool_timeout: Seconds = 5

    # Claims and presence.
    lease: Seconds = 30
    lease_stall: Seconds = 2
    reconciler_interval: Seconds = 1
    outbox_backoff: Seconds = 15
    outbox_batch: Count = 200

    # Nodes.
    heartbeat_interval: Seconds = 2
    expected_nodes: Annotated[int, Field(ge=0)] | None = None  # readiness waits for so many; None: for none
    concurrent_node_operations: Count = 64  # over all deployments of one environment

    # What nodes report of themselves over time.
    metrics_sample_interval: Seconds = 15  # a node leaves at most one sample in each
    metrics_detail: Seconds = 3600  # for so long by node; afterwards by cluster and minute
    metrics_retention: Seconds = 7 * 24 * 3600

    # Telling.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"  # auto: text where stderr is a terminal
    sentry_dsn: SecretStr | None = None
    otlp_endpoint: HttpUrl | None = None  # the base address of an OpenTelemetry collector; None: no traces are sent
    otlp_headers: SecretStr | None = None  # name=value,name=value
    trace_url: TraceUrl | None = None  # where people look at a trace; {trace_id} stands for its id
    instance: str = "local"  # names this orchestrator in metrics, logs and Sentry

    @property
    def workspaces(self) -> Path:
        """Where builds and tests work."""
        return self.work_dir or self.artifacts_dir.parent / "work"

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL for SQLAlchemy with psycopg 3."""
        return "postgresql+psycopg" + self.database_url[self.database_url.index("://") :]

    @field_validator("build_tools", mode="before")
    @classmethod
    def _paths(cls, given: object) -> object:
        return tuple(filter(None, given.split(":"))) if isinstance(given, str) else given

    @field_validator("sandbox_require", mode="before")
    @classmethod
    def _claims(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        names = [name.strip() for name in given.lower().split(",")]
        return () if names == ["none"] else tuple(filter(None, names))

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.lease < self.lease_stall:
            raise ValueError("HOTSWAP_LEASE must not be shorter than HOTSWAP_LEASE_STALL")
        if self.port == self.agent_port and self.host == self.agent_host:
            raise ValueError("HOTSWAP_PORT and HOTSWAP_AGENT_PORT must differ")
        return self


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment (default: the process's). Raises SettingsError with all that is wrong in it."""
    given = _read(os.environ if environment is None else environment)
    followed = {name: given[other] for name, other in _FOLLOWS.items() if other in given}
    try:
        return Settings.model_validate({**followed, **given})
    except ValidationError as error:
        # What follows another setting is wrong or missing only because that one is.
        followers = _FOLLOWS.keys() - given.keys()
        own = [each for each in error.errors() if not each["loc"] or each["loc"][0] not in followers]
        raise SettingsError("; ".join(_problem(dict(each)) for each in own)) from None


def _problem(error: dict[str, Any]) -> str:
    location = error["loc"]
    if not location:
        return str(error["msg"]).removeprefix("Value error, ")
    variable = PREFIX + str(location[0]).upper()
    if error["type"] == "missing":
        return f"{variable} is not set"
    return f"{variable} {str(error['msg']).removeprefix('Value error, ')}"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once. Raises SettingsError."""
    return load()


def settings_or_exit() -> Settings:
    """The process's settings; when they are unusable, one line on stderr and exit code 2."""
    try:
        return settings()
    except SettingsError as error:
        print(f"hotswap: {error}", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
