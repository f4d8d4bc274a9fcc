"""The preconditions of the local stack, asked for real and beforehand. Nothing is started, nothing is left behind."""

import ctypes
import errno
import importlib.util
import os
import platform
import resource
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.identity import unprivileged
from deploy.local.ports import LOOPBACK, why_unusable
from deploy.local.postgres import program as postgres_program
from deploy.local.valkey import program as valkey_program

_MIB = 1024 * 1024
_DISK_NEEDED, _DISK_WANTED = 512 * _MIB, 2048 * _MIB
_MEMORY_NEEDED, _MEMORY_WANTED = 1024 * _MIB, 3072 * _MIB
_FILES_WANTED = 4096
_GLIBC_NEEDED = (2, 28)
_SO_ATTACH_REUSEPORT_CBPF = 51


class Verdict(Enum):
    """BAD keeps the stack from starting or from swapping without interruption; a WARNING does not."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One answer: the text says what is there, or what to do."""

    subject: str
    verdict: Verdict
    text: str


def examine(data_folder: Path, port: int) -> list[Finding]:
    """Every check, in the order in which a start would stumble over it."""
    return [*_python(), *_system(), *_folder(data_folder.absolute()), _public_port(port), *_kernel()]


def _python() -> Iterator[Finding]:
    yield Finding("python", Verdict.GOOD, platform.python_version())  # an older one could not have come this far
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        yield Finding("venv", Verdict.GOOD, "virtual environments can be made")
    else:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        yield Finding("venv", Verdict.WARNING, f"make needs it for .venv: apt-get install {package}")
    for name, find in (("postgresql", lambda: postgres_program("postgres")), ("valkey", valkey_program)):
        yield _program(name, find)


def _program(name: str, find: Callable[[], Path]) -> Finding:
    try:
        path = find()
    except StackError as error:
        return Finding(name, Verdict.BAD, str(error))
    if not os.access(path, os.X_OK):
        return Finding(name, Verdict.BAD, f"{path} is not there or may not be run: remove .venv and run make up")
    return Finding(name, Verdict.GOOD, str(path))


def _system() -> Iterator[Finding]:
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    if name == "glibc" and tuple(int(part) for part in version.split(".")[:2]) >= _GLIBC_NEEDED:
        yield Finding("libc", Verdict.GOOD, f"glibc {version}")
    else:
        yield Finding("libc", Verdict.BAD, "the embedded servers need glibc 2.28 or newer (Debian 10, RHEL 8 or later)")
    memory = _available_memory()
    text = f"{memory // _MIB} MB available"
    if memory < _MEMORY_NEEDED:
        yield Finding("memory", Verdict.BAD, f"{text}: 1 GB is needed, for fewer nodes see --nodes")
    elif memory < _MEMORY_WANTED:
        yield Finding("memory", Verdict.WARNING, f"{text}: 3 GB are better for 38 nodes; fewer: --nodes qa=3")
    else:
        yield Finding("memory", Verdict.GOOD, text)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= _FILES_WANTED or hard >= _FILES_WANTED or hard == resource.RLIM_INFINITY:
        yield Finding("open files", Verdict.GOOD, f"{soft} per process")
    else:
        yield Finding("open files", Verdict.WARNING, f"only {soft} per process: ulimit -n {_FILES_WANTED}")


def _available_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 0)
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        text = limit.read_text().strip()
        return available if text == "max" else min(available, int(text))
    except (OSError, ValueError):
        return available


def _folder(folder: Path) -> Iterator[Finding]:
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=above) as trial:
            yield Finding("data folder", Verdict.GOOD, f"{folder} is writable")
            yield _identity(Path(trial))
    except OSError as error:
        text = f"{above} is not writable ({error.strerror}): choose another with --data-dir"
        yield Finding("data folder", Verdict.BAD, text)
    free = shutil.disk_usage(above).free
    text = f"{free // _MIB} MB free"
    if free < _DISK_NEEDED:
        yield Finding("disk", Verdict.BAD, f"{text}: free 512 MB, or choose another with --data-dir")
    elif free < _DISK_WANTED:
        yield Finding("disk", Verdict.WARNING, f"{text}: releases and logs of a fleet want 2 GB")
    else:
        yield Finding("disk", Verdict.GOOD, text)


def _identity(folder: Path) -> Finding:
    try:
        identity = unprivileged(postgres_program("postgres"), folder)
    except StackError as error:
        return Finding("unprivileged", Verdict.BAD, str(error))
    if os.geteuid() != 0:
        return Finding("unprivileged", Verdict.GOOD, "PostgreSQL runs as you")
    how = "in a user namespace" if identity.owner is None else f"as user {identity.owner}"
    return Finding("unprivileged", Verdict.GOOD, f"PostgreSQL runs {how}")


def _public_port(port: int) -> Finding:
    if port and (why := why_unusable(port)):
        return Finding("port", Verdict.BAD, why)
    return Finding("port", Verdict.GOOD, f"{port or 'a free one'} on {LOOPBACK}")


def _kernel() -> Iterator[Finding]:
    missing = _steering()
    if missing is None:
        yield Finding("socket steering", Verdict.GOOD, "SO_ATTACH_REUSEPORT_CBPF works")
    else:
        text = f"SO_ATTACH_REUSEPORT_CBPF does not work ({missing}): Linux 4.5 or newer, outside of gVisor, is needed"
        yield Finding("socket steering", Verdict.BAD, text)
    try:
        os.close(os.pidfd_open(os.getpid()))
        yield Finding("pidfd", Verdict.GOOD, "processes can be watched")
    except OSError as error:
        yield Finding("pidfd", Verdict.BAD, f"pidfd_open fails ({error.strerror}): Linux 5.3 or newer is needed")


def _steering() -> str | None:
    """Attach a program that always selects the first socket of a group; why that failed, or None."""
    always_first = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(always_first))
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((LOOPBACK, 0))
            listener.listen(1)
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return None
