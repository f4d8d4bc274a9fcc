"""The processes of the local stack: their command lines, and how each is told to stop."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent.telemetry.otlp import ENDPOINT_VARIABLE, HEADERS_VARIABLE
from deploy.local.datafolder import DataFolder
from deploy.local.fleet import Lines, write_fleet
from deploy.local.holders import end_holders
from deploy.local.ledger import MARKER
from deploy.local.options import ROOT, Options
from deploy.local.postgres import Postgres
from deploy.local.probes import http_answers, postgres_answers, tls_client, valkey_answers
from deploy.local.service import Phase, Service, Stop
from deploy.local.valkey import Valkey

_CELERY = ("-q", "-A", "workers.celery_app")  # -q: no banner among the log lines
_FLOWER = ROOT / "config" / "flower.py"
_ORCHESTRATOR_NAME = "orchestrator.hotswap.internal"
# With REMAP_SIGTERM the first signal is Celery's soft shutdown, bounded in time; the last is SIGKILL, after which the
# claims are taken over.
_CELERY_STOP = Stop(signal.SIGTERM, 4.5)
_GUNICORN_STOP = Stop(signal.SIGTERM, 4.2, signal.SIGQUIT, 0.3)
_AGENTS_STOP = Stop(signal.SIGINT, 11.0)  # SIGINT: modules end too, drains are cut at 10 s
_POSTGRES_STOP = Stop(signal.SIGINT, 8.0, signal.SIGQUIT, 3.0)  # fast, then immediate: never lost, only slower to start


def mark(data: DataFolder) -> dict[str, str]:
    """What every process of this stack has in its environment."""
    return {MARKER: data.id}


def postgres_service(data: DataFolder, postgres: Postgres) -> Service:
    return Service(
        "postgres",
        Phase.SERVERS,
        tuple(postgres.command()),
        {**postgres.environment(), **mark(data)},
        postgres.folder,
        ready=postgres_answers(postgres.url()),
        before=postgres.clear_stale_lock,
        stop=_POSTGRES_STOP,
    )


def valkey_service(data: DataFolder, valkey: Valkey, outer: Mapping[str, str]) -> Service:
    return Service(
        "valkey",
        Phase.SERVERS,
        tuple(valkey.command()),
        {"PATH": outer.get("PATH", os.defpath), **mark(data)},
        valkey.folder,
        ready=valkey_answers(valkey),
        stop=Stop(signal.SIGTERM, 3.0),
    )


def _program(name: str) -> str:
    """A command of the virtual environment that we run in."""
    return str(Path(sys.executable).parent / name)


def orchestrator_services(
    data: DataFolder, environment: Mapping[str, str], port: int, ports: Mapping[str, int]
) -> list[Service]:
    def service(name: str, *command: str, stop: Stop = _CELERY_STOP) -> Service:
        return Service(name, Phase.ORCHESTRATOR, command, environment, data.root, stop=stop)

    def worker(queue: str, pool: str, concurrency: int) -> Service:
        return service(
            queue,
            *(_program("celery"), *_CELERY, "worker", "-Q", queue, "-n", f"{queue}@%h"),
            *("-P", pool, "-c", str(concurrency), "-E", "--without-gossip", "--without-mingle"),
        )

    tls = tls_client(*(data.path("tls", name) for name in ("ca.pem", "orchestrator.pem", "orchestrator.key")))
    api = service(
        "api",
        *(_program("gunicorn"), "--config", str(ROOT / "config" / "gunicorn_api.py"), "app.api.wsgi:application"),
        stop=_GUNICORN_STOP,
    )
    listener = service(
        "agent-listener",
        *(_program("gunicorn"), "--config", str(ROOT / "config" / "gunicorn_agents.py")),
        "app.api.agent_wsgi:application",
        stop=_GUNICORN_STOP,
    )
    migrate = (sys.executable, "-m", "app.infrastructure.db.migrate")
    return [
        Service("migrate", Phase.MIGRATION, migrate, environment, data.root, once=True),
        replace(api, ready=http_answers(port, "/health/live")),
        replace(listener, ready=http_answers(ports["agents"], "/", tls, _ORCHESTRATOR_NAME)),
        worker("pipeline", "prefork", 2),
        worker("build", "threads", 2),
        worker("scan", "threads", 2),
        worker("deploy", "threads", 16),
        worker("urgent", "threads", 8),
        worker("control", "threads", 2),
        service("beat", _program("celery"), *_CELERY, "beat", "--schedule", str(data.path("beat", "schedule"))),
        replace(
            service("flower", _program("celery"), "-q", "-A", "workers.flower", "flower", f"--conf={_FLOWER}"),
            # Its own metrics are not the orchestrator's.
            environment={name: value for name, value in environment.items() if name != "PROMETHEUS_MULTIPROC_DIR"},
            phase=Phase.TOOLS,  # nobody waits for it, and it finds the workers running
            stop=Stop(signal.SIGTERM, 2.0),
        ),
    ]


def agents_services(
    options: Options, data: DataFolder, environment: Mapping[str, str], ports: Mapping[str, int]
) -> list[Service]:
    """One process for all; none where there are no nodes."""
    lines = Lines(environment.get("HOTSWAP_LOG_LEVEL") or "info", environment.get("HOTSWAP_LOG_FORMAT") or "auto")
    configurations = write_fleet(data, options.nodes, ports["agents"], lines)
    # Agents know nothing of the orchestrator, least of all its secrets.
    own = {name: value for name, value in environment.items() if not name.startswith(("HOTSWAP_", "PROMETHEUS_"))}
    for ours, standard in (("HOTSWAP_OTLP_ENDPOINT", ENDPOINT_VARIABLE), ("HOTSWAP_OTLP_HEADERS", HEADERS_VARIABLE)):
        if environment.get(ours):
            own[standard] = environment[ours]
    command = (sys.executable, "-m", "agent.host", "--configs", str(configurations))

    async def end_what_is_left() -> None:
        await end_holders(nodes.iterdir())

    nodes = data.path("nodes")
    if not any(group.count for group in options.nodes):
        return []
    agents = Service(
        "agents",
        Phase.AGENTS,
        command,
        {**own, **mark(data)},
        data.root,
        stop=_AGENTS_STOP,
        after=end_what_is_left,
    )
    return [agents]
