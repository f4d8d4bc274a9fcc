"""Which processes make up the local stack, with which environment.

The command lines of the orchestrator are those of the Procfile. External servers (HOTSWAP_DATABASE_URL,
HOTSWAP_BROKER_URL set by whoever starts it) take the place of embedded ones.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.datafolder import DataFolder
from deploy.local.fleet import (
    FIRST_ENVIRONMENTS,
    NodesError,
    make_certificates,
)
from deploy.local.keys import make_builder_key, make_signing_key
from deploy.local.options import ROOT, Options
from deploy.local.ports import LOOPBACK, kept_ports
from deploy.local.postgres import Postgres
from deploy.local.probes import stack_is_ready
from deploy.local.secret_files import kept_secret, passwords, write_private
from deploy.local.service import Phase, Service
from deploy.local.services import agents_services, mark, orchestrator_services, postgres_service, valkey_service
from deploy.local.valkey import Valkey

DATABASE_VARIABLES = ("HOTSWAP_DATABASE_URL", "HOTSWAP_DATABASE_URL_FILE")
BROKER_VARIABLES = ("HOTSWAP_BROKER_URL", "HOTSWAP_BROKER_URL_FILE")
SERVERS = ("postgres", "valkey")
_PHASES = {**dict.fromkeys(SERVERS, Phase.SERVERS), "agents": Phase.AGENTS, "flower": Phase.TOOLS}


@dataclass(frozen=True)
class Plan:
    """What to run, what asks for the readiness of the whole, and what to tell the person."""

    services: tuple[Service, ...]
    whole: Service
    prepare: tuple[Callable[[], None], ...]  # to be called once before the start; each may raise StackError
    environment: Mapping[str, str] = field(repr=False)
    urls: Mapping[str, str]
    credentials: Mapping[str, str] = field(repr=False)
    flower_password: str = field(repr=False)
    given: frozenset[str]  # users whose password came from outside, and is not shown
    generated: bool  # whether credentials.json holds some of them


def phase_of(name: str) -> Phase:
    """In which phase a service of that name belongs, as the ledger knows only names."""
    return _PHASES.get(name, Phase.ORCHESTRATOR)


def make_plan(options: Options, data: DataFolder, port: int, outer: Mapping[str, str]) -> Plan:
    """Makes keys, certificates, secrets and configuration files where they are missing, and the list of processes.

    Raises StackError.
    """
    new = _is_new(data, outer)
    if new:
        _refuse_unknown_environments(options)
    ports = kept_ports(data.path("ports.json"), ["postgres", "valkey", "agents", "flower"])
    users = passwords(outer, data.path("credentials.json"))
    make_certificates(data)
    make_signing_key(data)
    make_builder_key(data)
    environment = _environment(options, data, port, ports, outer, users)
    postgres = None if _given(outer, DATABASE_VARIABLES) else _postgres(data, ports)
    valkey = None if _given(outer, BROKER_VARIABLES) else _valkey(data, ports)
    servers = [
        *([postgres_service(data, postgres)] if postgres else []),
        *([valkey_service(data, valkey, outer)] if valkey else []),
    ]
    public = f"http://{LOOPBACK}:{port}"
    whole = Service("the stack", Phase.TOOLS, (), {}, data.root, ready=stack_is_ready(port))
    return Plan(
        services=(
            *servers,
            *orchestrator_services(data, environment, port, ports),
            *([] if new or not options.nodes else [_environments(options, data, environment)]),
            *agents_services(options, data, environment, ports),
        ),
        whole=whole,
        prepare=tuple(server.prepare for server in (postgres, valkey) if server is not None),
        environment=environment,
        urls={
            "api": public,
            "docs": f"{public}/api/v1/docs",
            "metrics": f"{public}/metrics",
            "flower": f"http://{LOOPBACK}:{ports['flower']}",
            "agentListener": f"https://{LOOPBACK}:{ports['agents']}",
        },
        credentials=users,
        given=frozenset(user for user in users if outer.get(f"HOTSWAP_{user.upper()}_PASSWORD")),
        flower_password=_flower_password(environment),
        generated=any(not outer.get(f"HOTSWAP_{user.upper()}_PASSWORD") for user in users),
    )


def _is_new(data: DataFolder, outer: Mapping[str, str]) -> bool:
    """Whether the database is made by this start: it will have the first environments, and no others."""
    return not _given(outer, DATABASE_VARIABLES) and not data.path("postgres", "data", "PG_VERSION").exists()


def _environments(options: Options, data: DataFolder, environment: Mapping[str, str]) -> Service:
    """Asks a database that is there whether it has the environments of the nodes; anybody may have made some."""
    asked = [group.name for group in options.nodes]
    command = (sys.executable, "-m", "deploy.local.environments", *asked)
    return Service("environments", Phase.CHECKS, command, environment, data.root, once=True)


def _refuse_unknown_environments(options: Options) -> None:
    unknown = [group.name for group in options.nodes if group.name not in FIRST_ENVIRONMENTS]
    if unknown:
        raise NodesError(
            f"--nodes: there is no environment {', '.join(unknown)}: a new stack has {', '.join(FIRST_ENVIRONMENTS)}"
        )


def _flower_password(environment: Mapping[str, str]) -> str:
    given = environment.get("HOTSWAP_FLOWER_PASSWORD")
    return given or Path(environment["HOTSWAP_FLOWER_PASSWORD_FILE"]).read_text().strip()


def _given(outer: Mapping[str, str], variables: tuple[str, ...]) -> bool:
    return any(outer.get(variable) for variable in variables)


def _postgres(data: DataFolder, ports: Mapping[str, int]) -> Postgres:
    return Postgres(data.path("postgres", "data"), ports["postgres"], kept_secret(data.path("secrets", "postgres")))


def _valkey(data: DataFolder, ports: Mapping[str, int]) -> Valkey:
    return Valkey(data.path("valkey"), ports["valkey"], kept_secret(data.path("secrets", "valkey")))


def _environment(
    options: Options,
    data: DataFolder,
    port: int,
    ports: Mapping[str, int],
    outer: Mapping[str, str],
    users: Mapping[str, str],
) -> dict[str, str]:
    """The orchestrator's environment: what we were given, completed by what the local stack makes itself."""
    made: dict[str, str] = {
        "HOTSWAP_HOST": LOOPBACK,
        "HOTSWAP_PORT": str(port),
        "HOTSWAP_AGENT_HOST": LOOPBACK,
        "HOTSWAP_AGENT_PORT": str(ports["agents"]),
        "HOTSWAP_FLOWER_PORT": str(ports["flower"]),
        "HOTSWAP_TLS_CA": str(data.path("tls", "ca.pem")),
        "HOTSWAP_TLS_CERTIFICATE": str(data.path("tls", "orchestrator.pem")),
        "HOTSWAP_TLS_KEY": str(data.path("tls", "orchestrator.key")),
        "HOTSWAP_ARTIFACTS_DIR": str(data.path("artifacts")),
        "HOTSWAP_TRUSTED_KEYS_DIR": str(data.path("keys", "trusted")),
        "HOTSWAP_ATTESTATION_KEY": str(data.path("keys", "builder.key")),
        "HOTSWAP_TRUSTED_BUILDERS_DIR": str(data.path("keys", "builders")),
        "HOTSWAP_EXPECTED_NODES": str(sum(group.count for group in options.nodes)),
        "PROMETHEUS_MULTIPROC_DIR": str(data.path("run", "metrics")),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), outer.get("PYTHONPATH", "")))),
        "PYTHONUNBUFFERED": "1",
        # What killed processes leave stays in the data folder, and goes at the next start.
        "TMPDIR": str(data.path("run", "tmp")),
        # A worker's plain SIGTERM waits for its tasks without an end.
        "REMAP_SIGTERM": "SIGQUIT",
        # Threads would each get a heap of their own, for nothing on a small machine.
        "MALLOC_ARENA_MAX": "2",
        **mark(data),
    }
    secrets_made = {
        "HOTSWAP_JWT_SECRET": "jwt",
        "HOTSWAP_TASK_SECRET": "tasks",
        "HOTSWAP_FLOWER_PASSWORD": "flower",
    }
    for variable, file in secrets_made.items():
        if not _given(outer, (variable, f"{variable}_FILE")):
            kept_secret(data.path("secrets", file))
            made[f"{variable}_FILE"] = str(data.path("secrets", file))
    for user, password in users.items():
        made[f"HOTSWAP_{user.upper()}_PASSWORD"] = password
    made["HOTSWAP_GIVEN_PASSWORDS"] = ",".join(user for user in users if outer.get(f"HOTSWAP_{user.upper()}_PASSWORD"))
    made["HOTSWAP_GIVEN_AT"] = datetime.now(UTC).isoformat()
    if not _given(outer, DATABASE_VARIABLES):
        made["HOTSWAP_DATABASE_URL_FILE"] = _url_file(data, "database-url", _postgres(data, ports).url())
    if not _given(outer, BROKER_VARIABLES):
        made["HOTSWAP_BROKER_URL_FILE"] = _url_file(data, "broker-url", _valkey(data, ports).url())
    return {**outer, **made}


def _url_file(data: DataFolder, name: str, url: str) -> str:
    path = data.path("secrets", name)
    write_private(path, url.encode())
    return str(path)
