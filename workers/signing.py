"""Task messages are signed: write access to Redis is not the right to make workers do anything.

HMAC-SHA256 over the task's name, id and arguments, in a header. What is not signed, or wrongly, is refused by the
task's base class before it does anything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from celery.signals import before_task_publish

HEADER = "hotswap_signature"
_secret = b""


def install(secret: str) -> None:
    """Sign whatever this process publishes with `secret`."""
    global _secret
    _secret = secret.encode()
    before_task_publish.connect(_sign, weak=False, dispatch_uid="hotswap-signing")


def _sign(headers: dict[str, Any] | None = None, body: Any = None, **_rest: Any) -> None:
    if headers is not None:
        headers[HEADER] = signature(headers["task"], headers["id"], body[0], body[1])


def signature(task: str, task_id: str, args: Any, kwargs: Any) -> str:
    text = json.dumps([task, task_id, list(args or ()), dict(kwargs or {})], sort_keys=True)
    return hmac.new(_secret, text.encode(), hashlib.sha256).hexdigest()


def genuine(given: str | None, task: str, task_id: str, args: Any, kwargs: Any) -> bool:
    return bool(given) and hmac.compare_digest(str(given), signature(task, task_id, args, kwargs))
