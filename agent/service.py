"""One agent, put together: start, serve, stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from agent import __version__
from agent.activation import Activation
from agent.api import Api, Parts
from agent.config import AgentConfig
from agent.control import ControlSocket
from agent.engine import Engine
from agent.fetch import Fetcher
from agent.files_activation import FilesActivation
from agent.health import HealthGate
from agent.heartbeat import Heartbeat
from agent.holder.client import HolderClient, HolderStarter
from agent.holder.protocol import HolderError
from agent.journal import Journal
from agent.metrics import Counters
from agent.module_metrics import ModuleMetrics
from agent.node_state import NodeState
from agent.paths import NodeFolders
from agent.process_activation import ProcessActivation
from agent.processes import Processes
from agent.recovery import Recovery
from agent.restoring import Restoring
from agent.staging import Stager
from agent.supervisor import Supervisor
from agent.telemetry.redaction import Redactor
from agent.tls import client_context, server_context
from agent.trust import Trust, TrustedKeys

if TYPE_CHECKING:
    from agent.telemetry.exporting import SpanExporter

log = logging.getLogger(__name__)

API_PORT = "api_port"
GRACE = 1.0  # seconds for requests under way when the API closes
SHUTDOWN_ATTEMPTS = 3
LAST_OPERATIONS = 3.0  # seconds for operations when the modules are to end, too


class AlreadyRunning(RuntimeError):
    """Another agent works on this data folder; the text is one line for the operator."""


class Service:
    """An agent from its start to its end."""

    def __init__(self, config: AgentConfig, start_holder: HolderStarter | None = None) -> None:
        self._config = config
        self._start_holder = start_holder
        self._stopped: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def stop(self, modules: bool) -> None:
        """End the agent; with `modules` the modules and the holder, too."""
        if not self._stopped.done():
            self._stopped.set_result(modules)

    async def run(self) -> None:
        """Run until `stop`, SIGTERM (agent only) or SIGINT (modules, too). Raises `AlreadyRunning`, `OSError`."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop, False)
        loop.add_signal_handler(signal.SIGINT, self.stop, True)
        config = self._config
        _make_data_dir(config)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_only_one(config))
            journal = stack.enter_context(contextlib.closing(Journal(config.journal)))
            holder = await HolderClient.open(config.data_dir, start=self._start_holder)
            stack.push_async_callback(holder.close)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await self._serve(journal, holder, session)

    async def _serve(self, journal: Journal, holder: HolderClient, session: aiohttp.ClientSession) -> None:
        config, counters, folders = self._config, Counters(), NodeFolders(self._config.data_dir)
        listener = _bind(config, journal)
        address = f"{config.advertise}:{listener.getsockname()[1]}"
        client_tls = client_context(config.tls)
        processes = Processes(config, journal, folders, holder)
        supervisor = Supervisor(journal, processes, counters)
        metrics = ModuleMetrics(supervisor)
        state = NodeState(config, journal, supervisor, metrics, address)
        files = FilesActivation(config, journal, folders)
        restoring = Restoring(journal, processes, supervisor)
        await Recovery(journal, folders, processes, restoring, files, state).run()
        heartbeat = Heartbeat(
            session, client_tls, config.orchestrator_urls, config.limits, journal, counters, state.body
        )
        fetcher = Fetcher(
            session, client_tls, config.orchestrator_urls, folders.staging, config.limits, config.archive.archive_bytes
        )
        trust = Trust(TrustedKeys(config.trusted_keys), TrustedKeys(config.attestation_keys))
        stager = Stager(folders, fetcher, trust, config.archive)
        activation = Activation(
            config, journal, folders, stager, files,
            ProcessActivation(journal, processes, supervisor, HealthGate(config, processes)), restoring, state,
        )  # fmt: skip
        engine = Engine(journal, activation, counters, heartbeat.ready)
        parts = Parts(engine, journal, folders, supervisor, state, counters, config.limits, heartbeat.ready)
        work = [heartbeat.run(engine), metrics.run(), _relay(supervisor.changed, heartbeat, metrics)]
        if config.telemetry.otlp_endpoint:
            work.append(_span_exporter(config, session, counters).run())
        async with (
            _listening(parts, config, listener),
            _control(config, self),
            _background(self, *work),
        ):
            log.info("agent %s listens on %s", config.node_id, address)
            modules = await self._stopped
            await engine.stop(LAST_OPERATIONS if modules else config.limits.stop_timeout)
        await supervisor.close()
        if modules:
            await self._end_modules(holder)

    async def _end_modules(self, holder: HolderClient) -> None:
        """End all modules and the holder; if that dies meanwhile, its successor does it. Raises `HolderError`."""
        for _ in range(SHUTDOWN_ATTEMPTS - 1):
            try:
                await holder.state()  # waits for the next holder where this one has just died
                return await holder.shutdown(drain_timeout=self._config.limits.stop_timeout)
            except HolderError as error:
                log.warning("the holder died while it was to end the modules: %s", error)
                await holder.close()
                holder = await HolderClient.open(self._config.data_dir, start=self._start_holder)
        return await holder.shutdown(drain_timeout=self._config.limits.stop_timeout)


def redactor_of(config: AgentConfig) -> Redactor:
    """Takes out what this agent knows to be secret."""
    return Redactor(config.telemetry.otlp_headers.values())


def _span_exporter(config: AgentConfig, session: aiohttp.ClientSession, counters: Counters) -> SpanExporter:
    from agent.telemetry.exporting import Collector, SpanExporter  # nobody else needs it

    collector = Collector(config.telemetry.otlp_endpoint, config.telemetry.otlp_headers)
    resource = {
        "service.name": "hotswap-agent", "service.version": __version__, "service.instance.id": config.node_id,
        "node": config.hostname, "node_id": config.node_id, "environment": config.environment,
    }  # fmt: skip
    return SpanExporter(session, collector, resource, counters, redactor_of(config))


def _make_data_dir(config: AgentConfig) -> None:
    """Others may pass through (a module's own user has to reach its release) but not look around."""
    if not config.data_dir.exists():
        config.data_dir.mkdir(parents=True)
        config.data_dir.chmod(0o711)


@contextlib.contextmanager
def _only_one(config: AgentConfig) -> Iterator[None]:
    descriptor = os.open(config.data_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another agent works on {config.data_dir}; stop it first") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _bind(config: AgentConfig, journal: Journal) -> socket.socket:
    """The API's listener, at the port it had before where any will do."""
    kept = journal.value(API_PORT) if config.listen_port == 0 else None
    family = socket.AF_INET6 if ":" in config.listen_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.listen_host, int(kept) if kept is not None else config.listen_port))
    except OSError:
        if kept is None:
            listener.close()
            raise
        listener.bind((config.listen_host, 0))
    journal.put_value(API_PORT, str(listener.getsockname()[1]))
    return listener


@contextlib.asynccontextmanager
async def _listening(parts: Parts, config: AgentConfig, listener: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(
        Api(parts).application(),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=GRACE,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=server_context(config.tls)).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _control(config: AgentConfig, service: Service) -> AsyncIterator[None]:
    control = ControlSocket(config.control_socket, service.stop)
    await control.open()
    try:
        yield
    finally:
        control.close()


@contextlib.asynccontextmanager
async def _background(service: Service, *work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Tasks that never end by themselves; if one does, the agent ends, and whoever started it starts the next."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.error("a part of the agent failed, so it ends", exc_info=task.exception())
            service.stop(False)

    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(changed: asyncio.Event, heartbeat: Heartbeat, metrics: ModuleMetrics) -> None:
    """A change that supervision sees is told at once; what an operation did, its answer has told already."""
    while True:
        await changed.wait()
        changed.clear()
        metrics.look_around()
        heartbeat.nudge()
