"""Single values of a manifest that are written as text: durations, sizes, addresses, names."""

from __future__ import annotations

from agent.manifest.model import Address


def is_module_name(text: str) -> bool:
    """Whether `text` can name a module: 3 to 64 of a-z, 0-9 and '-', neither first nor last a '-'."""
    raise NotImplementedError


def parse_duration(text: str) -> float:
    """Seconds of `90`, `1.5`, `250ms`, `90s`, `5m`, `2h`, `1h30m`, `1d` or `00:01:30.250`; raises `ValueError`."""
    raise NotImplementedError


def parse_size(text: str) -> int:
    """Bytes of `512MiB`, `10MB`, `1.5GiB`, `4096`; raises `ValueError`."""
    raise NotImplementedError


def parse_address(text: str) -> Address:
    """The address of `0.0.0.0:8080` or `[::]:80`; raises `ValueError`."""
    raise NotImplementedError
