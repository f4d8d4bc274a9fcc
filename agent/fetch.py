"""Artifacts from the orchestrator's agent listener: by digest, bounded, resumed where a download was cut."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import aiohttp

from agent.config import AgentLimits
from agent.failures import FailureCode, OperationFailed
from agent.protocol import Target
from agent.tls import ORCHESTRATOR_NAME
from agent.writing import write_all

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # between attempts, seconds; the operation's timeout ends them
LASTING_REFUSALS = frozenset({400, 401, 403, 404, 410})


class Fetcher:
    """Downloads into `folder`; a part that is already there is continued with `Range`."""

    def __init__(
        self, session: aiohttp.ClientSession, context: ssl.SSLContext, urls: Sequence[str], folder: Path,
        limits: AgentLimits, largest: int,
    ) -> None:  # fmt: skip
        self._session = session
        self._context = context
        self._urls = tuple(urls)
        self._folder = folder
        self._limits = limits
        self._largest = largest

    def part_of(self, digest: str) -> Path:
        """The file that a download grows in."""
        return self._folder / f"{digest.removeprefix('sha256:')}.part"

    async def fetch(self, target: Target, patience: float) -> Path:
        """The archive, complete and with the right SHA-256. `patience`: seconds without a single new byte.

        Raises `OperationFailed`: fetch_failed where the orchestrator refuses or nothing came for so long,
        verification_failed where the bytes have another digest or length.
        """
        if target.size_bytes > self._largest:
            raise OperationFailed(
                FailureCode.BAD_ARCHIVE, f"the archive has {target.size_bytes} bytes, the limit is {self._largest}"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self.part_of(target.digest)
        found = await self._download(target, patience)
        if found is None:
            found = await asyncio.to_thread(_digest_of, part)
            if found != target.digest:
                # What was there before is to blame as much as what came: parts are not synced, so a power cut may
                # leave one of the right size and without its bytes.
                log.warning("the part of %s was damaged: it is fetched again, whole", target.digest)
                os.truncate(part, 0)
                found = await self._download(target, patience) or await asyncio.to_thread(_digest_of, part)
        if found != target.digest:
            part.unlink(missing_ok=True)
            raise OperationFailed(
                FailureCode.VERIFICATION_FAILED, f"what came for {target.digest} has the digest {found}"
            )
        return part

    async def _download(self, target: Target, patience: float) -> str | None:
        """Make the part as long as the archive; the digest of all of it, None where not all came in one attempt."""
        pause, attempt, have, progressed = FIRST_PAUSE, 0, -1, time.monotonic()
        while True:
            url = f"{self._urls[attempt % len(self._urls)]}/agent/v1/artifacts/{target.digest}"
            try:
                return await self._continue(url, target)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                problem = f"{url}: {type(error).__name__}: {error}"
            size = self.part_of(target.digest).stat().st_size
            if size != have:
                pause, have, progressed = FIRST_PAUSE, size, time.monotonic()
            elif time.monotonic() - progressed > patience:
                raise OperationFailed(FailureCode.FETCH_FAILED, f"nothing came for {patience:.0f} s; last: {problem}")
            attempt += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _continue(self, url: str, target: Target) -> str | None:
        """Get what is missing; the digest of the whole where all of it came now, None where a part was there."""
        part = self.part_of(target.digest)
        with part.open("ab", buffering=0) as file:
            have = file.seek(0, os.SEEK_END)
            if have > target.size_bytes:
                file.truncate(0)
                have = 0
            if have == target.size_bytes:
                return None
            headers = {"Range": f"bytes={have}-", "If-Range": f'"{target.digest}"'} if have else {}
            timeout = aiohttp.ClientTimeout(
                total=None, connect=self._limits.connect_timeout, sock_read=self._limits.read_timeout
            )
            async with self._session.get(
                url, headers=headers, ssl=self._context, server_hostname=ORCHESTRATOR_NAME, timeout=timeout,
                allow_redirects=False,
            ) as response:  # fmt: skip
                await _refuse_errors(response)
                if response.status == 200:
                    file.truncate(0)
                return await self._receive(response, file, target)

    async def _receive(self, response: aiohttp.ClientResponse, file: FileIO, target: Target) -> str | None:
        have = file.seek(0, os.SEEK_END)
        begun_at, state = have, hashlib.sha256()
        async for chunk in response.content.iter_chunked(CHUNK):
            have += len(chunk)
            if have > target.size_bytes:
                file.truncate(0)
                raise OperationFailed(
                    FailureCode.VERIFICATION_FAILED, f"more than {target.size_bytes} bytes came for {target.digest}"
                )
            write_all(file.fileno(), chunk)
            state.update(chunk)
        if have < target.size_bytes:
            raise aiohttp.ClientPayloadError(f"the download ended at {have} of {target.size_bytes} bytes")
        # Another operation with the same digest may have written to the part as well: then the file itself is read.
        alone = begun_at == 0 and os.fstat(file.fileno()).st_size == have
        return f"sha256:{state.hexdigest()}" if alone else None


async def _refuse_errors(response: aiohttp.ClientResponse) -> None:
    if response.status in (200, 206):
        return
    said = (await response.content.read(2000)).decode("utf-8", "replace")
    if response.status in LASTING_REFUSALS:
        raise OperationFailed(
            FailureCode.FETCH_FAILED, f"the orchestrator answered {response.status} for the artifact", said
        )
    raise aiohttp.ClientResponseError(response.request_info, response.history, status=response.status, message=said)


def _digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
