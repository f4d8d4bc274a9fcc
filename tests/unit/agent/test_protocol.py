"""Parsing of what the orchestrator sends: strict, and every refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.protocol import Action, Command, Context, ModuleKey, parse_command, parse_module_key, parse_resolve
from agent.records import command_from_json, command_to_json
from agent.refusals import Refusal, RefusalCode

BODY: dict[str, Any] = {
    "tenant": "0190a0b0-0000-7000-8000-000000000000",
    "module": "payment-processor",
    "fencingToken": 17,
    "action": "activate",
    "target": {
        "digest": "sha256:" + "0" * 64, "version": "1.1.0", "sizeBytes": 12345, "signature": "c2ln",
        "keyId": "0123456789abcdef",
    },
    "expectedActive": None,
    "timeout": 60,
    "context": {"environment": "QA", "deploymentId": "d1", "previousVersion": None},
    "settings": {"environment": {"LOG_LEVEL": "info"}},
}  # fmt: skip


def parse(**changes: object) -> Command:
    return parse_command("op-1", {**BODY, **changes})


def test_a_whole_command() -> None:
    command = parse()
    assert command.key == ModuleKey(BODY["tenant"], "payment-processor")
    assert (command.token, command.action, command.timeout) == (17, Action.ACTIVATE, 60.0)
    assert command.target is not None and command.target.size_bytes == 12345
    assert command.expects_active and command.expected_active is None
    assert command.context == Context("QA", "d1", None)
    assert command.settings == {"LOG_LEVEL": "info"}


def test_expected_active_left_out_is_not_checked() -> None:
    body = {name: value for name, value in BODY.items() if name != "expectedActive"}
    assert not parse_command("op-1", body).expects_active


def test_target_null_means_absent() -> None:
    assert parse(target=None).target is None


def test_retire_needs_no_target() -> None:
    body = {name: value for name, value in BODY.items() if name != "target"}
    assert parse_command("op-1", {**body, "action": "retire"}).target is None


def test_journal_form_round_trips() -> None:
    for command in (parse(), parse(target=None), parse(expectedActive="sha256:" + "1" * 64, force=True, keepWarm=3.5)):
        again = command_from_json(command_to_json(command))
        assert again == command
        assert again.content() == command.content()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a/b"}, "tenant"),
        ({"tenant": "../x"}, "tenant"),
        ({"module": "Payment"}, "module"),
        ({"module": ".."}, "module"),
        ({"fencingToken": "17"}, "fencingToken"),
        ({"fencingToken": True}, "fencingToken"),
        ({"fencingToken": -1}, "fencingToken"),
        ({"fencingToken": 2**63}, "fencingToken"),
        ({"fencingToken": 1.0}, "fencingToken"),
        ({"action": "explode"}, "action"),
        ({"action": "preview", "target": None}, "target"),
        ({"target": []}, "target"),
        ({"target": {**BODY["target"], "digest": "sha256:AB"}}, "digest"),
        ({"target": {**BODY["target"], "digest": "sha256:" + "0" * 64 + "\n"}}, "digest"),
        ({"target": {**BODY["target"], "version": "../../etc"}}, "version"),
        ({"target": {**BODY["target"], "sizeBytes": 0}}, "sizeBytes"),
        ({"target": {**BODY["target"], "keyId": "xyz"}}, "keyId"),
        ({"target": {**BODY["target"], "more": 1}}, "more"),
        ({"expectedActive": "1.0.0"}, "expectedActive"),
        ({"force": "yes"}, "force"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": 10**9}, "timeout"),
        ({"settings": {"environment": {"A=B": "x"}}}, "A=B"),
        ({"settings": {"environment": {"A": 1}}}, "A"),
        ({"settings": {"environment": {"A": "\x00"}}}, "A"),
        ({"settings": {"other": {}}}, "other"),
        ({"context": {"environment": "x" * 2000}}, "environment"),
        ({"fencingTokn": 1}, "fencingTokn"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(**changes)
    assert refused.value.code is RefusalCode.MALFORMED
    assert named in refused.value.message


@pytest.mark.parametrize("operation_id", ["", "..", "a/b", "a" * 200, "a\n", "ä"])
def test_bad_operation_ids(operation_id: str) -> None:
    with pytest.raises(Refusal):
        parse_command(operation_id, BODY)


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {"tenant": None}])
def test_bodies_that_are_no_command(body: object) -> None:
    with pytest.raises(Refusal):
        parse_command("op-1", body)
    with pytest.raises(Refusal):
        parse_resolve("op-1", body, 30)


TEXT = st.text(st.sampled_from("aA0._-\x00é/"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(BODY)), JSON))
def test_nothing_but_a_refusal_comes_of_rubbish(changes: dict[str, object]) -> None:
    try:
        parse(**changes)
    except Refusal as refusal:
        assert refusal.status == 400


def test_resolve_waits_no_longer_than_allowed() -> None:
    body = {"tenant": BODY["tenant"], "module": "payment-processor", "fencingToken": 3, "wait": 600}
    assert parse_resolve("op-1", body, 30.0).wait == 30.0


def test_module_of_a_path() -> None:
    assert parse_module_key("t1", "web-site") == ModuleKey("t1", "web-site")
    with pytest.raises(Refusal):
        parse_module_key("t1", "../etc")
