"""The state of the node as a heartbeat tells it."""

from __future__ import annotations

from agent import __version__, node_facts
from agent.config import AgentConfig
from agent.journal import Journal
from agent.manifest import Kind
from agent.module_metrics import ModuleMetrics
from agent.operation import ActiveView
from agent.protocol import ModuleKey
from agent.records import ModuleRecord, Role, SideRecord
from agent.supervisor import ModuleStatus, Supervisor, Watch

STANDBY_STATUS = {Role.PREVIEW: "preview", Role.WARM: "warm", Role.DRAINING: "draining"}


class NodeState:
    """Puts together what journal and supervisor know."""

    def __init__(
        self, config: AgentConfig, journal: Journal, supervisor: Supervisor, metrics: ModuleMetrics, address: str
    ) -> None:
        self._config = config
        self._journal = journal
        self._supervisor = supervisor
        self._metrics = metrics
        self._address = address
        self._boot_id = node_facts.boot_id()
        self._resources = node_facts.resources(config.data_dir)

    def active(self, key: ModuleKey) -> ActiveView:
        """What is active of a module now."""
        release = self._journal.module(key).active
        watch = self._supervisor.watch(key)
        if release is None:
            return ActiveView(None, None, None)
        return ActiveView(release.digest, release.version, self._endpoint(watch))

    def _endpoint(self, watch: Watch | None) -> str | None:
        return watch.endpoints[0].url(self._config.advertise) if watch is not None and watch.endpoints else None

    def body(self, sequence: int) -> dict[str, object]:
        """The whole heartbeat."""
        modules = self._journal.modules()
        return {
            "hostname": self._config.hostname,
            "address": self._address,
            "agentVersion": __version__,
            "bootId": self._boot_id,
            "sequence": sequence,
            "labels": dict(self._config.labels),
            "resources": self._resources,
            "metrics": node_facts.usage(self._config.data_dir),
            "highestToken": max((module.highest_token for module in modules), default=0),
            "modules": [self._module(module) for module in modules],
        }

    def _module(self, module: ModuleRecord) -> dict[str, object]:
        watch = self._supervisor.watch(module.key)
        endpoints = watch.endpoints if watch is not None else ()
        rates = self._metrics.rates(module.key)
        totals = self._metrics.totals(module.key, module.active.digest) if module.active else None
        return {
            "tenant": module.key.tenant,
            "module": module.key.module,
            "digest": module.active.digest if module.active else None,
            "version": module.active.version if module.active else None,
            "status": self._status(module, watch).value,
            "endpoint": self._endpoint(watch),
            "endpoints": {endpoint.name: endpoint.url(self._config.advertise) for endpoint in endpoints},
            "fencingToken": module.highest_token,
            "restarts": watch.restarts if watch is not None else 0,
            "metrics": rates.as_json() if rates is not None else None,
            "totals": totals.as_json() if totals is not None else None,
            "standby": [_standby(side) for side in self._supervisor.standby(module.key)],
        }

    @staticmethod
    def _status(module: ModuleRecord, watch: Watch | None) -> ModuleStatus:
        if module.active is None:
            return ModuleStatus.STOPPED
        if module.active.kind is Kind.FILES:
            return ModuleStatus.INSTALLED
        return watch.status if watch is not None else ModuleStatus.STARTING


def _standby(side: SideRecord) -> dict[str, object]:
    return {"digest": side.release.digest, "version": side.release.version, "status": STANDBY_STATUS[side.role]}
