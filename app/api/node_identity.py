"""Which node is speaking: its client certificate says so, nothing in the request does.

gunicorn's thread worker gives the connection as `environ["gunicorn.socket"]`; its certificate was verified against our
CA in the handshake. The subject of a node is `O=hotswap-node, OU=<environment>, CN=<nodeId>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import request

from app.domain.errors import NotAuthenticated, NotPermitted

_NODE = "hotswap-node"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    node_id: UUID
    environment: str


def node_identity() -> NodeIdentity:
    """Raises NotAuthenticated without a certificate, NotPermitted for one that is no node's."""
    connection = request.environ.get("gunicorn.socket")
    get_certificate = getattr(connection, "getpeercert", None)
    certificate = get_certificate() if get_certificate is not None else None
    if not certificate:
        raise NotAuthenticated("This needs a node's client certificate.")
    return identity_of(certificate)


def identity_of(certificate: Mapping[str, Any]) -> NodeIdentity:
    """Of what `ssl.SSLSocket.getpeercert()` gives. Raises NotPermitted."""
    subject = {name: value for part in certificate.get("subject", ()) for name, value in part}
    if subject.get("organizationName") != _NODE:
        raise NotPermitted("This certificate is not a node's.")
    try:
        return NodeIdentity(UUID(subject["commonName"]), subject["organizationalUnitName"])
    except (KeyError, ValueError):
        raise NotPermitted("This certificate names no node id and environment.") from None
