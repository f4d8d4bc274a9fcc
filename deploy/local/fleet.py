"""The nodes of the local stack: their ids, certificates and configuration files."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uuid6

from deploy.local.datafolder import DataFolder
from deploy.local.errors import StackError
from deploy.local.secret_files import write_private

DEFAULT_NODES = "development=3,qa=5,staging=10,production=20"
MOST_NODES = 500
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_KNOWN = {"qa": "QA"}
FIRST_ENVIRONMENTS = ("Development", "QA", "Staging", "Production")
"""Those of a fresh database (app/orchestrator/bootstrap.py)."""


class NodesError(StackError):
    """--nodes is not understood."""


@dataclass(frozen=True)
class NodeGroup:
    """So many nodes of one environment. `name` is how the environment is written: Development, QA, ..."""

    name: str
    count: int

    @property
    def prefix(self) -> str:
        """Before the number in a node's name: qa-1."""
        return self.name.lower()


def parse_nodes(text: str) -> list[NodeGroup]:
    """Reads `development=3,qa=5`. Raises NodesError."""
    groups: dict[str, NodeGroup] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, count = part.partition("=")
        name = name.strip().lower()
        if not equals or not _NAME.fullmatch(name) or not count.strip().isdecimal():
            raise NodesError(f"--nodes: {part!r} is not ENVIRONMENT=COUNT, as in {DEFAULT_NODES}")
        if name in groups:
            raise NodesError(f"--nodes: {name} is named twice")
        groups[name] = NodeGroup(_KNOWN.get(name, name.capitalize()), int(count))
    if sum(group.count for group in groups.values()) > MOST_NODES:
        raise NodesError(f"--nodes: more than {MOST_NODES} nodes on one machine")
    return list(groups.values())


def make_certificates(data: DataFolder) -> None:
    """The development CA and the orchestrator's certificate, once."""
    from agent.certificates import issue_orchestrator_certificate, make_ca

    if not data.path("tls", "ca.key").exists():
        ca = make_ca()
        write_private(data.path("tls", "ca.pem"), ca.certificate)
        write_private(data.path("tls", "ca.key"), ca.key)
    if not data.path("tls", "orchestrator.pem").exists():
        issued = issue_orchestrator_certificate(_ca(data), ["127.0.0.1"])
        write_private(data.path("tls", "orchestrator.key"), issued.key)
        write_private(data.path("tls", "orchestrator.pem"), issued.certificate)


@dataclass(frozen=True)
class Lines:
    """How nodes log: as HOTSWAP_LOG_LEVEL and HOTSWAP_LOG_FORMAT say for the orchestrator."""

    level: str = "info"
    format: str = "auto"


def write_fleet(data: DataFolder, groups: Sequence[NodeGroup], agent_port: int, lines: Lines | None = None) -> Path:
    """Writes the configuration of every node and of no other; returns their folder, for `agent.host --configs`."""
    configurations = data.path("agents")
    shutil.rmtree(configurations)
    configurations.mkdir(mode=0o700)
    for group in groups:
        for number in range(1, group.count + 1):
            name = f"{group.prefix}-{number}"
            node_id = _node_id(data, name, group.name)
            told = _configuration(data, name, node_id, group.name, agent_port, lines or Lines())
            (configurations / f"{name}.toml").write_text(told)
    return configurations


def _ca(data: DataFolder):  # type: ignore[no-untyped-def]
    from agent.certificates import CertificateAuthority

    return CertificateAuthority(data.path("tls", "ca.pem").read_bytes(), data.path("tls", "ca.key").read_bytes())


def _node_id(data: DataFolder, name: str, environment: str) -> str:
    folder = data.path("nodes", name)
    folder.mkdir(mode=0o700, exist_ok=True)
    known = folder / "id"
    if not known.exists():
        from agent.certificates import issue_node_certificate

        node_id = str(uuid6.uuid7())
        issued = issue_node_certificate(_ca(data), node_id, environment, ["127.0.0.1"])
        write_private(folder / "node.key", issued.key)
        write_private(folder / "node.pem", issued.certificate)
        write_private(known, node_id.encode())
    return known.read_text().strip()


def _configuration(
    data: DataFolder, name: str, node_id: str, environment: str, agent_port: int, lines: Lines
) -> str:
    def text(value: object) -> str:
        # A JSON string is a TOML basic string, for everything that a path may contain.
        return json.dumps(str(value), ensure_ascii=False)

    folder = data.path("nodes", name)
    return f"""\
# {name}, written at each start by hotswap up
node_id = {text(node_id)}
environment = {text(environment)}
hostname = {text(name)}
data_dir = {text(folder)}
listen = "127.0.0.1:0"
trusted_keys = {text(data.path("keys", "trusted"))}
attestation_keys = {text(data.path("keys", "builders"))}

[orchestrator]
urls = [{text(f"https://127.0.0.1:{agent_port}")}]

[tls]
ca = {text(data.path("tls", "ca.pem"))}
certificate = {text(folder / "node.pem")}
key = {text(folder / "node.key")}

[labels]
name = {text(name)}
role = "web"

[local]
map_listen = true
map_destinations = true

[telemetry]
log_level = {text(lines.level)}
log_format = {text(lines.format)}
"""
