"""Readiness, really asked: each probe answers None, or what is lacking in a few words.

No question takes longer than LIMIT seconds.
"""

import asyncio
import json
import ssl
from pathlib import Path

import psycopg

from deploy.local.ports import LOOPBACK
from deploy.local.service import Probe
from deploy.local.valkey import Valkey

LIMIT = 5.0  # seconds for one question
_MOST_BYTES = 64 * 1024


def postgres_answers(url: str) -> Probe:
    """It takes our password and runs a query."""

    async def ask() -> str | None:
        try:
            async with asyncio.timeout(LIMIT):
                connection = await psycopg.AsyncConnection.connect(url, connect_timeout=3)
                async with connection:
                    await connection.execute("SELECT 1")
        except (psycopg.Error, OSError, TimeoutError) as error:
            return one_line(error)
        return None

    return ask


def valkey_answers(server: Valkey) -> Probe:
    """It takes our password and a PING."""

    async def ask() -> str | None:
        return None if server.answers() else "does not answer a PING"

    return ask


def http_answers(port: int, path: str, tls: ssl.SSLContext | None = None, name: str | None = None) -> Probe:
    """It answers a GET with any status (behind TLS: to our certificate, under its name)."""

    async def ask() -> str | None:
        try:
            await get(port, path, tls, name)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            return one_line(error)
        return None

    return ask


def stack_is_ready(port: int) -> Probe:
    """GET /health/ready is 200; else the names of the checks that fail."""

    async def ask() -> str | None:
        try:
            status, body = await get(port, "/health/ready")
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            return one_line(error)
        return None if status == 200 else lacking(status, body)

    return ask


def lacking(status: int, body: bytes) -> str:
    """What a readiness report complains of."""
    try:
        checks = json.loads(body)["checks"]
        failing = [
            f"{name} ({check.get('detail') or check['status']})"
            for name, check in checks.items()
            if check["status"] != "ok"
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        failing = []
    return ", ".join(failing) or f"answers {status}"


def tls_client(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that shows a certificate and verifies the other side's."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(certificate, key)
    return context


async def get(port: int, path: str, tls: ssl.SSLContext | None = None, name: str | None = None) -> tuple[int, bytes]:
    """Status and (the beginning of) the body. Raises OSError, TimeoutError, ValueError, IncompleteReadError."""
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls, server_hostname=name)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {name or LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            return status, await reader.read(_MOST_BYTES)
        except IndexError:
            raise ValueError("does not speak HTTP") from None
        finally:
            writer.close()


def one_line(error: BaseException) -> str:
    """The text of an error, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
