"""(what this machine can do, what is asked) -> a plan and the isolation it gives, or a refusal. Pure.

The order of preference is always: a wall of the kernel's own (namespace, cgroup), another user, a filter on the process
itself (Landlock, seccomp), a watchdog.
"""

from __future__ import annotations

import os

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.plan import Identity, Plan, Proc, Sockets
from app.infrastructure.sandbox.spec import Claim, Isolation, Network, SandboxRefused, SandboxSpec

# Landlock restricts signals and abstract sockets from this version of its interface on (Linux 6.12).
LANDLOCK_SCOPES = 6


def make_plan(can: Capabilities, spec: SandboxSpec, scratch: str = "") -> Plan:
    """What to put on. `scratch` is an empty folder for /tmp and HOME, used where no mount namespace is to be had.

    Raises `SandboxRefused` with one sentence when a claim that is required cannot be held.
    """
    plan = _strongest(can, spec, scratch)
    missing = sorted(_required(spec) - held(plan, spec.network), key=list(Claim).index)
    if missing:
        raise SandboxRefused("; ".join(map(_refusal, missing)))
    return plan


def held(plan: Plan, network: Network) -> frozenset[Claim]:
    """The claims that a plan holds."""
    other_user = plan.identity is Identity.DEDICATED
    unix_refused = plan.sockets in (Sockets.PAIRS, Sockets.NO_UNIX)
    holds = {
        Claim.NETWORK: network is Network.NONE
        and (plan.network_namespace or plan.sockets in (Sockets.ONLY_UNIX, Sockets.PAIRS)),
        Claim.FILES: plan.mount_namespace or plan.landlock > 0 or other_user,
        Claim.SOCKETS: plan.mount_namespace or other_user or unix_refused,
        Claim.PROCESSES: other_user or plan.landlock > 0 or (plan.mount_namespace and plan.proc is not Proc.HOST),
        Claim.SIGNALS: other_user or plan.pid_namespace or plan.landlock >= LANDLOCK_SCOPES,
        Claim.ENDING: other_user or plan.pid_namespace or bool(plan.cgroup) or plan.landlock >= LANDLOCK_SCOPES,
    }
    return frozenset(claim for claim, is_held in holds.items() if is_held)


def describe(plan: Plan, network: Network) -> Isolation:
    """The isolation of a plan, in words."""
    own_scratch = "tmpfs of limited size for /tmp and HOME, " if plan.mount_namespace else ""
    counted = {
        Identity.DEDICATED: "rlimit of a user of its own",
        Identity.NAMESPACE: "rlimit in a user namespace",
        Identity.SAME: "rlimit above what the user already runs",
    }[plan.identity]
    lacking = [claim for claim in Claim if claim not in held(plan, network)]
    return Isolation(
        user=plan.identity.value,
        files=_files(plan),
        processes=_processes(plan),
        network=_network(plan, network),
        ending=_ending(plan),
        process_limit="cgroup pids" if "pids" in plan.cgroup_controllers else f"{counted}, watchdog",
        memory_limit="cgroup memory" if "memory" in plan.cgroup_controllers else "rlimit of each process, watchdog",
        disk_limit=f"{own_scratch}watchdog, rlimit of each file",
        system_calls="seccomp" if plan.seccomp else "not filtered",
        lacks=tuple(claim.value for claim in lacking),
    )


def _strongest(can: Capabilities, spec: SandboxSpec, scratch: str) -> Plan:
    limits = spec.limits
    namespaces = can.root or can.user_namespace
    mounts = namespaces and can.mount_namespace
    pids = namespaces and can.pid_namespace
    network = spec.network is Network.NONE and namespaces and can.network_namespace
    identity = Identity.DEDICATED if can.root else Identity.NAMESPACE if _uses(mounts, pids, network) else Identity.SAME
    return Plan(
        command=spec.command,
        workspace=os.fspath(spec.workspace),
        folder=spec.folder,
        readable=tuple(os.fspath(path) for path in spec.readable),
        environment=dict(spec.environment),
        scratch="" if mounts else scratch,
        identity=identity,
        mount_namespace=mounts,
        pid_namespace=pids,
        network_namespace=network,
        proc=_proc(can, mounts=mounts, pids=pids),
        seccomp=can.seccomp,
        sockets=_sockets(can, spec.network, network, out_of_reach=mounts or can.root),
        landlock=0 if mounts else can.landlock,
        cgroup=can.cgroup,
        cgroup_controllers=can.cgroup_controllers if can.cgroup else (),
        wall_seconds=limits.wall_seconds,
        grace_seconds=limits.grace_seconds,
        cpu_seconds=limits.cpu_seconds,
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        file_bytes=min(limits.file_bytes, limits.disk_bytes),
        open_files=limits.open_files,
        disk_bytes=limits.disk_bytes,
        files=limits.files,
        scratch_bytes=limits.scratch_bytes,
    )


def _uses(*namespaces: bool) -> bool:
    return any(namespaces)


def _proc(can: Capabilities, *, mounts: bool, pids: bool) -> Proc:
    """The machine's own shows its processes, which another user can do nothing with; the same user gets none then."""
    if mounts and pids and can.proc_mount:
        return Proc.OWN
    return Proc.HOST if can.root or not mounts else Proc.EMPTY


def _sockets(can: Capabilities, asked: Network, namespace: bool, *, out_of_reach: bool) -> Sockets:
    """AF_UNIX is let through only where no socket of ours can be found or opened with it. In a network namespace, too,
    families are picked: AF_VSOCK leads out of a virtual machine whatever the namespace."""
    if not can.seccomp:
        return Sockets.ANY
    if asked is Network.ALLOWED or namespace:
        return Sockets.LOCAL_AND_INTERNET if out_of_reach else Sockets.NO_UNIX
    return Sockets.ONLY_UNIX if out_of_reach else Sockets.PAIRS


def _required(spec: SandboxSpec) -> frozenset[Claim]:
    if spec.network is Network.ALLOWED:
        return spec.require - {Claim.NETWORK}
    return spec.require | {Claim.NETWORK}


def _refusal(missing: Claim) -> str:
    needs = {
        Claim.NETWORK: "no network can be kept from it here: it needs unprivileged user namespaces with a network "
        "namespace, or seccomp filters, and this machine gives neither",
        Claim.FILES: "our files cannot be kept from it here: it needs a mount namespace, Landlock, or to be started as "
        "root so that it can run as another user",
        Claim.SOCKETS: "our sockets cannot be kept from it here: it needs a mount namespace, seccomp filters, or to be "
        "started as root so that it can run as another user",
        Claim.PROCESSES: "memory and environment of our processes cannot be kept from it here: it needs a mount and a "
        "pid namespace, Landlock, or to be started as root so that it can run as another user",
        Claim.SIGNALS: "our processes cannot be kept safe from its signals here: it needs a pid namespace, Landlock of "
        "Linux 6.12 or newer, or to be started as root so that it can run as another user",
        Claim.ENDING: "it cannot be made sure here that nothing outlives it: it needs a pid namespace, a writable "
        "cgroup, Landlock of Linux 6.12 or newer, or to be started as root so that it can run as another user",
    }
    return needs[missing]


def _files(plan: Plan) -> str:
    if plan.mount_namespace:
        return "mount namespace, read-only system"
    if plan.landlock:
        return f"Landlock (version {plan.landlock})"
    return "permissions of another user" if plan.identity is Identity.DEDICATED else "none"


def _processes(plan: Plan) -> str:
    if plan.pid_namespace:
        return "pid namespace"
    if plan.identity is Identity.DEDICATED:
        return "another user"
    return f"Landlock (version {plan.landlock})" if plan.landlock else "none"


def _network(plan: Plan, network: Network) -> str:
    if network is Network.ALLOWED:
        return "allowed"
    if plan.network_namespace:
        return "network namespace"
    return "seccomp, AF_UNIX only" if plan.sockets is Sockets.ONLY_UNIX else "seccomp, socket pairs only"


def _ending(plan: Plan) -> str:
    if plan.cgroup:
        return "cgroup.kill"
    if plan.pid_namespace:
        return "pid namespace"
    return "all of a user of its own" if plan.identity is Identity.DEDICATED else "subreaper"
