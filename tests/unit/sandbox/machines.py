"""Strategies for hypothesis: any machine, any thing asked of it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.spec import Claim, Limits, Network, SandboxSpec

machines = st.builds(
    Capabilities,
    root=st.booleans(),
    user_namespace=st.booleans(),
    mount_namespace=st.booleans(),
    pid_namespace=st.booleans(),
    network_namespace=st.booleans(),
    proc_mount=st.booleans(),
    seccomp=st.booleans(),
    landlock=st.integers(0, 9),
    cgroup=st.sampled_from(["", "/sys/fs/cgroup/some"]),
    cgroup_controllers=st.sampled_from([(), ("pids",), ("pids", "memory")]),
)
limits = st.builds(
    Limits,
    wall_seconds=st.floats(0.01, 1e6),
    memory_bytes=st.integers(1, 2**40),
    processes=st.integers(1, 10_000),
    disk_bytes=st.integers(1, 2**40),
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
specs = st.builds(
    SandboxSpec,
    command=st.lists(names, min_size=1, max_size=3).map(tuple),
    workspace=st.just(Path("/var/tmp/work")),
    environment=st.dictionaries(names, values, max_size=3),
    limits=limits,
    network=st.sampled_from(Network),
    require=st.frozensets(st.sampled_from(Claim)),
)
