"""Every isolation that this machine can give, from the strongest to the weakest, as root and as an ordinary user."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.probe import available
from app.infrastructure.sandbox.removal import remove_tree
from tests.integration.sandbox.sites import NOBODY, Driver, Site, Sites

_BY_ROOT = ["root", "root-bare", "root-plain"] if os.geteuid() == 0 else []
NAMES = [*_BY_ROOT, "user", "user-landlock", "user-bare"]
# Of two that differ only in what is seen of files, one will do for what is used up; and the two ends for limits that
# are kept alike everywhere.
NAMES_FOR_LIMITS = [*_BY_ROOT[:2], "user", "user-bare"]
BOTH_ENDS = [NAMES[0], NAMES[-1]]


def expected_names() -> set[str]:
    """What there must be, found by other means than those that are tested: unshare(1), and the kernel's own answer."""
    as_root = os.geteuid() == 0
    names: set[str] = set()
    if as_root:
        names |= {"root-bare", "root-plain"}
        if _unshares(None, "--mount", "--pid", "--fork", "--net"):
            names.add("root")
    if not as_root or _unshares(None, "--mount"):
        # Where root may mount, an interpreter below a closed folder is brought within reach of others (`driver`).
        names.add("user-bare")
        if _has_landlock():
            names.add("user-landlock")
        if _unshares(NOBODY if as_root else None, "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net"):
            names.add("user")
    return names


def _unshares(user: int | None, *options: str) -> bool:
    ended = subprocess.run(
        ["unshare", *options, "true"], check=False, capture_output=True, cwd="/", user=user, group=user,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    return ended.returncode == 0


def _has_landlock() -> bool:
    """landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION; the same number on every architecture."""
    return int(ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)) > 0


def _possible(name: str, root: Capabilities | None, user: Capabilities | None) -> Capabilities | None:
    """What a site of this name has; None where the machine cannot give it."""
    full = root if name.startswith("root") else user
    if full is None:
        return None
    bare = Capabilities(root=full.root, seccomp=full.seccomp, landlock=full.landlock)
    has_namespaces = full.mount_namespace and full.pid_namespace and full.network_namespace
    return {
        "root": full if has_namespaces else None,
        "root-bare": bare,
        "root-plain": replace(bare, landlock=0),
        "user": full if has_namespaces else None,
        "user-landlock": bare if bare.landlock else None,
        "user-bare": replace(bare, landlock=0),
    }[name]


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """Reachable for other users, which folders of pytest's own are not."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]
    place = next(place for place in places if place.is_dir() and _is_open(place))
    folder = Path(tempfile.mkdtemp(prefix="hotswap-sandbox-", dir=place))
    folder.chmod(0o777)
    yield folder
    remove_tree(folder)


def _is_open(place: Path) -> bool:
    return all(above.stat().st_mode & 0o001 for above in (place, *place.parents))


def _started(user: int, base: Path) -> tuple[Driver, Capabilities] | None:
    """None where the interpreter cannot be brought within reach of another user."""
    driver = Driver(user, base)
    try:
        return driver, Capabilities.from_json(driver.ask(do="available"))
    except (AssertionError, BrokenPipeError):
        driver.close()
        return None


@pytest.fixture(scope="session")
def sites(base: Path) -> Iterator[Sites]:
    own = available()
    as_root = os.geteuid() == 0
    by_root = _started(0, base) if as_root else None
    by_user = _started(NOBODY, base) if as_root else None
    root_driver = by_root[0] if by_root else None
    user_driver = by_user[0] if by_user else None
    root = own if as_root else None
    user = own if not as_root else by_user[1] if by_user else None
    found = Sites()
    for name in NAMES:
        capabilities = _possible(name, root, user)
        if capabilities is not None:
            driver = None if name == "root" else root_driver if name.startswith("root") else user_driver
            found[name] = Site(name, capabilities, base, driver)
    yield found
    for started in (root_driver, user_driver):
        if started is not None:
            started.close()
