"""(c) Swap: 100 swaps of a real web service under load from keep-alive and one-shot clients."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, Section, median
from tests.benchmarks.memory import MemoryUse, measure_memory
from tests.benchmarks.stack import stack
from tests.load import Load

NODES = 5
ROUNDS = 20
EXAMPLE = Path(__file__).parents[2] / "examples" / "web-greeter"


def _version(folder: Path, version: str) -> Path:
    """The example under another version."""
    module = folder / version
    shutil.copytree(EXAMPLE, module, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    manifest = module / "hotswap.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", f"version: {version}"))
    return module


def measure(folder: Path) -> tuple[Section, MemoryUse, float]:
    """The section, the memory of the stack after it, and the seconds until the stack was ready."""
    with stack(folder / "swaps", f"qa={NODES}") as running:
        running.publish(_version(folder, "1.0.0"))
        running.ended(running.submit("web-greeter", "1.0.0", "QA"))
        endpoints = running.endpoints("QA", "web-greeter")
        if len(endpoints) != NODES:
            raise RuntimeError(f"{len(endpoints)} of {NODES} nodes serve the first release")
        targets = {f"node-{number}": endpoint for number, endpoint in enumerate(endpoints)}
        times = []
        with Load(targets) as load:
            load.start(keep_alive=2, one_shot=2, late=1)
            load.wait_for(20)
            for number in range(1, ROUNDS + 1):
                version = f"1.0.{number}"
                running.publish(_version(folder, version))
                begun = time.monotonic()
                shown = running.ended(running.submit("web-greeter", version, "QA"))
                times.append(time.monotonic() - begun)
                if shown["status"] != "Succeeded":
                    raise RuntimeError(f"{version} ended {shown['status']}")
            load.wait_for(20)
        tally = load.tally
        failed = sum(tally.failures.values())
        moved = running.endpoints("QA", "web-greeter") != endpoints
        memory = measure_memory(running.folder, running.pid)
        ready = running.ready_seconds
    answered = sum(tally.versions.values())
    section = Section(
        "(c) Swap",
        f"{NODES * ROUNDS} swaps ({ROUNDS} rolling deployments over {NODES} nodes) of examples/web-greeter under"
        " load from keep-alive clients, one-shot clients and clients whose handshake ends late.",
        (
            Figure("failed requests", f"{failed} of {answered + failed}", "0", None, "0", failed == 0),
            Figure("endpoints that moved", "some" if moved else "none", "none", None, "none", not moved),
            Figure("one rollout, median", f"{median(times):.1f} s", "", None, "reported", True),
        ),
    )
    return section, memory, ready
