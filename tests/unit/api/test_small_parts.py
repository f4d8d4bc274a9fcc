"""Trace ids, roles, cursors, identities of nodes, places for streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask

from agent.telemetry.traceparent import SpanContext, parse
from app.api.node_identity import NodeIdentity, identity_of
from app.api.streaming import Streams, frame
from app.domain.errors import Invalid, NotPermitted, TooMany
from app.orchestrator.paging import cursor_of, parse_cursor, scope_of
from app.orchestrator.roles import Role, ordered, smaller

NODE = UUID("01900000-0000-7000-8000-00000000beef")


def test_a_trace_id_is_taken_from_a_valid_header() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert parse(f"00-{trace}-b7ad6b7169203331-01") == SpanContext(trace, "b7ad6b7169203331", sampled=True)
    assert parse(f"00-{trace}-b7ad6b7169203331-00") == SpanContext(trace, "b7ad6b7169203331", sampled=False)
    for header in (None, "", trace, f"00-{trace}-b7ad6b7169203331", f"00-{trace}-b7ad6b7169203331-01\n"):
        assert parse(header) is None
    assert parse(SpanContext(trace, None).header()) is not None


def test_each_role_includes_those_before_it() -> None:
    assert Role.VIEWER.granted_by(["Admin"]) and Role.ADMIN.granted_by(["Viewer", "Admin"])
    assert not Role.DEPLOYER.granted_by(["Viewer"])
    assert not Role.VIEWER.granted_by(["viewer", "Root", ""]) and not Role.VIEWER.granted_by([])


def test_the_smaller_of_two_rights() -> None:
    assert smaller(["Admin"], ["Deployer"]) == {"Deployer"} == smaller(["Deployer"], ["Approver", "Viewer"])
    assert smaller(["Viewer"], ["Admin"]) == {"Viewer"}
    assert smaller(["Root"], ["Admin"]) == smaller(["Admin"], []) == frozenset()
    assert ordered(["Admin", "Viewer", "Admin", "Root"]) == ["Viewer", "Admin"]


def test_cursors_go_there_and_back() -> None:
    identity = uuid4()
    assert parse_cursor(cursor_of(identity)) == identity
    for text in ("", "x", "!!!!", cursor_of(identity)[:-1], cursor_of(identity) + "AAAA", "\u00e9"):
        with pytest.raises(Invalid):
            parse_cursor(text)


def test_cursors_are_bound_to_a_list_and_its_filters() -> None:
    identity = uuid4()
    scope = scope_of("/nodes", {"status": ("Healthy",), "label": ()})
    cursor = cursor_of(identity, scope)
    assert parse_cursor(cursor, scope_of("/NODES", {"label": (), "status": ("healthy",)})) == identity
    others = (
        b"",
        scope_of("/modules", {"status": ("Healthy",), "label": ()}),
        scope_of("/nodes", {"status": (), "label": ("Healthy",)}),
        scope_of("/nodes", {"status": ("Healthy", "Drained"), "label": ()}),
    )
    for other in others:
        with pytest.raises(Invalid) as refusal:
            parse_cursor(cursor, other)
        assert "other filters" in refusal.value.errors["cursor"][0]
    with pytest.raises(Invalid):
        parse_cursor(cursor_of(identity), scope)


def subject(**names: str) -> dict[str, Any]:
    return {"subject": tuple(((name, value),) for name, value in names.items())}


def test_a_nodes_certificate_names_it() -> None:
    certificate = subject(organizationName="hotswap-node", organizationalUnitName="QA", commonName=str(NODE))
    assert identity_of(certificate) == NodeIdentity(NODE, "QA")


@pytest.mark.parametrize(
    "certificate",
    [
        {},
        subject(organizationName="hotswap-orchestrator", commonName="orchestrator"),
        subject(organizationName="hotswap-node", organizationalUnitName="QA", commonName="no uuid"),
        subject(organizationName="hotswap-node", commonName=str(NODE)),
    ],
)
def test_other_certificates_are_no_nodes(certificate: dict[str, Any]) -> None:
    with pytest.raises(NotPermitted):
        identity_of(certificate)


def test_a_frame_is_one_event() -> None:
    assert frame({"a": "x\ny"}, event_id=7) == 'id: 7\ndata: {"a":"x\\ny"}\n\n'


def test_a_place_for_a_stream_is_given_back_once_however_it_ends() -> None:
    streams = Streams(1)
    closed: list[bool] = []

    def frames() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    def refusing() -> Iterator[str]:
        raise Invalid({"x": ["refused before it began"]})

    with Flask(__name__).test_request_context("/"):
        first = streams.answer(frames)
        with pytest.raises(TooMany):
            streams.answer(frames)
        taken: Any = first.response
        assert next(iter(taken)) == "a"
        first.close()
        first.close()
        assert closed == [True]
        second = streams.answer(frames)
        assert list(second.response) == ["a", "b"]
        second.close()
        with pytest.raises(Invalid):
            streams.answer(refusing)
        streams.answer(frames)
        with pytest.raises(TooMany):
            streams.answer(frames)
