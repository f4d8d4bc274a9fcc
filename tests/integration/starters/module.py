"""What `hotswap init` made, through build, test and start, as a worker and a node would do it."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.manifest import Handover, Manifest, parse_manifest
from app.cli.init import Language, template

# What sandbox and agent give: the system's own path, nothing of ours.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE = 60.0
NAME = "made-here"
TOOL = {Language.PYTHON: "python3", Language.NODE: "node", Language.JAVA: "javac", Language.STATIC: "python3"}


def search_path() -> str:
    """The system's, and where it has no python3 that of the Python that runs us."""
    found = shutil.which("python3", path=SYSTEM_PATH)
    return SYSTEM_PATH if found else f"{Path(sys.executable).parent}:{SYSTEM_PATH}"


def is_here(language: Language) -> bool:
    """Whether this machine has what a template of this language says that it needs."""
    return shutil.which(TOOL[language], path=search_path()) is not None


@dataclass(frozen=True)
class Module:
    """A module of one language in a folder."""

    folder: Path
    manifest: Manifest

    @classmethod
    def made(cls, language: Language, folder: Path) -> Module:
        for path, content in template(language, NAME).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return cls(folder, parse_manifest((folder / "hotswap.yaml").read_bytes()))

    def change(self, path: str, old: str, new: str) -> None:
        """Edit one of its files."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def command(self, command: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
        """One of the manifest's commands."""
        environment = {"PATH": search_path(), "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            list(command), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def built(self) -> Module:
        """The tree that is deployed: what the build left in its output, and the manifest."""
        assert self.manifest.build is not None
        done = self.command(self.manifest.build.command, self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.deployed()

    def deployed(self) -> Module:
        """The same of an output that is there already."""
        assert self.manifest.build is not None
        tree = self.folder.with_name(self.folder.name + "-built")
        shutil.copytree(self.folder / self.manifest.build.output, tree)
        shutil.copyfile(self.folder / "hotswap.yaml", tree / "hotswap.yaml")
        return Module(tree, self.manifest)

    def tested(self) -> subprocess.CompletedProcess[str]:
        """The manifest's tests, in the tree that the build left behind."""
        assert self.manifest.test is not None
        return self.command(self.manifest.test.command, self.folder)

    @contextmanager
    def serving(self, data: Path) -> Iterator[Serving]:
        """With `run.command` under way: it has the socket as descriptor 3, or PORT, as `run.handover` says."""
        run = self.manifest.run
        assert run is not None
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            port = int(listener.getsockname()[1])
            environment = {"PATH": search_path(), "HOTSWAP_MODULE": self.manifest.name, "HOTSWAP_DATA_DIR": str(data)}
            environment["HOTSWAP_VERSION"] = self.manifest.version
            command = list(run.command)
            if run.handover is Handover.SOCKET:
                listener.setblocking(False)
                environment["LISTEN_FDS"] = "1"
                command = [sys.executable, "-c", _SHIM, str(listener.fileno()), *command]
            else:
                listener.close()
                environment["PORT"] = str(port)
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                pass_fds=[listener.fileno()] if run.handover is Handover.SOCKET else [],
            )  # fmt: skip
            try:
                yield Serving(process, port)
            finally:
                process.kill()
                process.communicate()


# Descriptor 3 is put in place in a process that then becomes the module, as the agent's shim does.
_SHIM = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
    "os.environ['LISTEN_PID'] = str(os.getpid()); os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True)
class Serving:
    """A module's process and the port of its socket."""

    process: subprocess.Popen[str]
    port: int

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; waits for who does not listen yet."""
        deadline = time.monotonic() + DEADLINE
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.05)
            finally:
                connection.close()

    def ended(self) -> tuple[int, str]:
        """Exit code after SIGTERM, and all that it said."""
        os.kill(self.process.pid, signal.SIGTERM)
        output, _ = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, output
