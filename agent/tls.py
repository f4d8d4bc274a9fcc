"""Who is who between orchestrator and agent: the names in their certificates, and the contexts that demand them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from agent.config import TlsFiles

ORCHESTRATOR_ORGANIZATION = "hotswap-orchestrator"
ORCHESTRATOR_NAME = "orchestrator.hotswap.internal"
NODE_ORGANIZATION = "hotswap-node"


def node_name(node_id: str) -> str:
    """The DNS name in a node's certificate, which the orchestrator verifies."""
    return f"{node_id}.nodes.hotswap.internal"


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a listener that takes only clients with a certificate of our CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # nobody resumes a session, and making and sending two tickets is a part of each handshake
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For a client that shows its own certificate and verifies the other side's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.ca)
    return context


def organization_of(certificate: Mapping[str, Any] | None) -> str | None:
    """The subject's O of a peer certificate as `ssl` gives it, None without one."""
    for relative_name in (certificate or {}).get("subject", ()):
        for name, value in relative_name:
            if name == "organizationName":
                return str(value)
    return None
