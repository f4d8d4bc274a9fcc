"""What follows from what a machine can do: never less than asked, never a mechanism that the machine lacks."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.plan import Identity, Plan, Proc, Sockets
from app.infrastructure.sandbox.planner import describe, held, make_plan
from app.infrastructure.sandbox.spec import Claim, Network, SandboxRefused, SandboxSpec
from tests.unit.sandbox.machines import machines, specs

FULL = Capabilities(True, True, True, True, True, True, True, 7)
SPEC = SandboxSpec(command=("make",), workspace=Path("/var/tmp/work"))


def _plan(can: Capabilities, spec: SandboxSpec) -> Plan | None:
    try:
        return make_plan(can, spec, "/var/tmp/scratch")
    except SandboxRefused as refusal:
        assert str(refusal).count("\n") == 0
        assert " here" in str(refusal)
        return None


@given(machines, specs)
def test_a_plan_holds_what_was_required(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    required = spec.require - ({Claim.NETWORK} if spec.network is Network.ALLOWED else set())
    assert required <= held(plan, spec.network)
    assert spec.network is Network.ALLOWED or Claim.NETWORK in held(plan, spec.network)


@given(machines, specs)
def test_a_plan_uses_nothing_that_the_machine_lacks(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    by_namespaces = can.root or can.user_namespace
    assert not plan.mount_namespace or (by_namespaces and can.mount_namespace)
    assert not plan.pid_namespace or (by_namespaces and can.pid_namespace)
    assert not plan.network_namespace or (by_namespaces and can.network_namespace)
    assert plan.identity is not Identity.DEDICATED or can.root
    assert plan.identity is not Identity.NAMESPACE or can.user_namespace
    assert plan.landlock in (0, can.landlock)
    assert (plan.sockets is Sockets.ANY) is not can.seccomp
    assert plan.proc is not Proc.OWN or (can.proc_mount and plan.pid_namespace and plan.mount_namespace)
    assert plan.cgroup or not plan.cgroup_controllers


@given(machines, specs)
def test_root_never_runs_a_command_as_root(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(replace(can, root=True), spec)
    assert plan is None or plan.identity is Identity.DEDICATED


@given(machines, specs)
def test_a_machine_that_can_do_more_never_holds_less(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    richer = replace(FULL, root=can.root, cgroup=can.cgroup, landlock=max(can.landlock, 7))
    best = _plan(richer, spec)
    assert best is not None
    assert held(plan, spec.network) <= held(best, spec.network)


@given(machines, specs)
def test_sockets_of_ours_are_reached_only_where_it_is_said(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    lets_unix = plan.sockets in (Sockets.ANY, Sockets.LOCAL_AND_INTERNET, Sockets.ONLY_UNIX)
    hidden = plan.mount_namespace or plan.identity is Identity.DEDICATED
    assert not lets_unix or hidden or Claim.SOCKETS.value in describe(plan, spec.network).lacks


@given(machines, specs)
def test_plans_survive_the_pipe(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    line = plan.dumps()
    assert line.count(b"\n") == 1
    assert Plan.loads(line) == plan
    assert Capabilities.from_json(can.as_json()) == can


@given(machines, specs)
def test_every_isolation_names_every_mechanism(can: Capabilities, spec: SandboxSpec) -> None:
    plan = _plan(can, spec)
    if plan is None:
        return
    told = describe(plan, spec.network).as_json()
    assert all(told[name] for name in told if name != "lacks")
    assert "none" not in (told["network"], told["user"], told["ending"])


def test_the_strongest_lacks_nothing() -> None:
    for root in (True, False):
        plan = make_plan(replace(FULL, root=root), SPEC)
        assert held(plan, Network.NONE) == frozenset(Claim)
        assert describe(plan, Network.NONE).lacks == ()


def test_no_means_at_all_is_a_refusal_that_says_what_is_missing() -> None:
    with pytest.raises(SandboxRefused, match="no network can be kept from it here: it needs unprivileged user namesp"):
        make_plan(Capabilities(), SPEC)


@pytest.mark.parametrize("claim", [claim for claim in Claim if claim is not Claim.NETWORK])
def test_each_claim_has_a_refusal_of_its_own(claim: Claim) -> None:
    can = Capabilities(seccomp=claim is not Claim.SOCKETS)
    spec = replace(SPEC, network=Network.ALLOWED, require=frozenset({claim}))
    with pytest.raises(SandboxRefused, match=r"here: it needs|here that nothing"):
        make_plan(can, spec)


def test_one_file_may_not_be_larger_than_all() -> None:
    spec = replace(SPEC, limits=replace(SPEC.limits, disk_bytes=5, file_bytes=50))
    assert make_plan(FULL, spec).file_bytes == 5


def test_unknown_fields_of_a_probe_are_passed_over() -> None:
    data = FULL.as_json() | {"teleport": True}
    assert Capabilities.from_json(data) == FULL
    assert {field.name for field in fields(Capabilities)} <= set(data)
