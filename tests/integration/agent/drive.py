"""By hand: one agent, and an orchestrator that deploys module folders to it, one after the other.

    python -m tests.integration.agent.drive FOLDER MODULE_FOLDER [MODULE_FOLDER ...] [--keep]

FOLDER is where the node lives (made if it is missing; a later run finds what an earlier one left with `--keep`). Each
operation's result is printed as JSON. At the end the agent and its modules are ended, with `--keep` the agent only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from agent.archive import pack_bytes
from agent.manifest import MANIFEST_NAME, parse_manifest
from agent.signatures import Digest, key_id, public_pem, sign
from tests.integration.agent.bench import CA, KEY
from tests.integration.agent.node import Node
from tests.integration.agent.orchestrator import TENANT, Orchestrator
from tests.integration.agent.releases import Release


def packed(folder: Path) -> Release:
    """A module folder as a signed release."""
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
    archive = pack_bytes(folder)
    digest = Digest.of_bytes(archive)
    return Release(manifest.name, manifest.version, archive, str(digest), sign(KEY, digest), key_id(KEY.public_key()))


async def drive(folder: Path, modules: list[Path], *, keep: bool) -> bool:
    """Deploy all of them; whether each succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    async with Orchestrator(folder, CA) as orchestrator:
        node = Node(folder, CA, orchestrator)
        (node.keys / "publisher.pem").write_bytes(public_pem(KEY.public_key()))
        await node.start()
        good = True
        try:
            state = (await orchestrator.call(node.name, "GET", "/v1/state")).body
            for token, release in enumerate(map(packed, modules), state["highestToken"] + 1):
                orchestrator.serve(release)
                operation_id = f"{release.name}-{token}"
                result = await orchestrator.do(node.name, release, token, operation_id=operation_id, tenant=TENANT)
                sys.stdout.write(json.dumps(result, indent=2) + "\n")
                good = good and result["state"] == "succeeded"
        finally:
            await node.stop(modules=not keep)
        return good


def main() -> int:
    """0 if everything succeeded, else 1."""
    parser = argparse.ArgumentParser(description="Deploy module folders to an agent of one's own.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("modules", type=Path, nargs="+")
    parser.add_argument("--keep", action="store_true", help="leave the modules running")
    asked = parser.parse_args()
    return 0 if asyncio.run(drive(asked.folder, asked.modules, keep=asked.keep)) else 1


if __name__ == "__main__":
    sys.exit(main())
