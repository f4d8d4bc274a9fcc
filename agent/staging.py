"""From a digest to a release on disk: verify the publisher, fetch, unpack, keep."""

from __future__ import annotations

from pathlib import Path

from agent.archive import Limits
from agent.failures import OperationFailed
from agent.fetch import Fetcher
from agent.operation import Operation, Step
from agent.paths import NodeFolders
from agent.protocol import Target
from agent.releases import install, touch, usable
from agent.telemetry import spans
from agent.threads import finish_in_thread
from agent.trust import Trust

LONGEST_SILENCE = 60.0  # seconds without a new byte after which a download has failed


class Stager:
    """Puts releases on this node's disk."""

    def __init__(self, folders: NodeFolders, fetcher: Fetcher, trust: Trust, limits: Limits) -> None:
        self._folders = folders
        self._fetcher = fetcher
        self._trust = trust
        self._limits = limits

    async def ensure(self, operation: Operation, target: Target) -> Path:
        """The folder of the release, complete and on disk. Raises `OperationFailed` and `OSError` of the disk.

        What is on disk already was verified when it came; it stays usable when its publisher's key is no longer
        trusted, so that a node can always go back.
        """
        key = operation.command.key
        folder = self._folders.module(key)
        place = folder.release(target.version, target.digest)
        operation.enter(Step.STAGING)
        if not (place.exists() and await finish_in_thread(usable, place)):
            with spans.span("verify"):
                self._trust.verify(target, key.module)
            patience = min(LONGEST_SILENCE, operation.remaining / 2)
            try:
                with spans.span("fetch"):
                    archive = await self._fetcher.fetch(target, patience)
                with spans.span("unpack"):  # the archive's digest is checked first
                    await finish_in_thread(install, archive, target, key.module, folder, self._limits)
            except (OSError, OperationFailed):
                # A part that filled the disk would keep it full, and one that was refused is of no use.
                self._fetcher.part_of(target.digest).unlink(missing_ok=True)
                raise
            archive.unlink(missing_ok=True)
        touch(place)
        operation.enter(Step.STAGED)
        return place
