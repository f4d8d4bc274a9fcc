"""Single values that are written as text: durations, sizes, addresses, names. No YAML here; errors are `ValueError`."""

from __future__ import annotations

import ipaddress
import re

from agent.manifest.model import Address

_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,18})?")
_PARTS = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_CLOCK = re.compile(r"(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)")
_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_number(text: str) -> float:
    """A plain decimal number that is not negative: no exponent, no hexadecimal, no underscores."""
    if not text.isascii() or _NUMBER.fullmatch(text) is None:
        raise ValueError("must be a number like 2 or 0.5")
    return float(text)


def parse_duration(text: str) -> float:
    """Seconds of `90`, `1.5`, `250ms`, `90s`, `5m`, `2h`, `1h30m`, `1d` or `00:01:30.250`; raises `ValueError`."""
    text = text.strip()
    if text.isascii():
        if _NUMBER.fullmatch(text):
            return float(text)
        if clock := _CLOCK.fullmatch(text):
            return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        parts = list(_PARTS.finditer(text))
        if parts and "".join(part[0] for part in parts) == text:
            return sum(float(part[1]) * _SECONDS[part[2]] for part in parts)
    raise ValueError("must be a duration: seconds as a number, or like '90s', '5m', '250ms', '1h30m'")


def parse_size(text: str) -> int:
    """Bytes of `512MiB`, `10MB`, `1.5GiB`, `4096`; raises `ValueError`."""
    match = _SIZE.fullmatch(text.strip()) if text.isascii() else None
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError("must be a size like '512MiB', '1.5GiB' or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_address(text: str) -> Address:
    """The address of `0.0.0.0:8080` or `[::]:80`; raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        shown = text.lstrip(":")
        wanted = f"'0.0.0.0:{shown}'" if shown.isascii() and shown.isdigit() else "'0.0.0.0:8080' or '[::]:8080'"
        raise ValueError(f"must be an address and a port, like {wanted}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"has no port from 0 to 65535 after its last ':' ({port[:20]!r})")
    bracketed = host.startswith("[") and host.endswith("]")
    inner = host[1:-1] if bracketed else host
    try:
        address = ipaddress.ip_address(inner)
    except ValueError as error:
        raise ValueError(f"needs an IP address before the port, like 0.0.0.0 or [::], not {host[:60]!r}") from error
    if (address.version == 6) != bracketed:
        raise ValueError(f"must be written as {Address(str(address), int(port))}: IPv6, and only IPv6, in brackets")
    if getattr(address, "scope_id", None):
        raise ValueError("must not name a network interface (%...)")
    return Address(str(address), int(port))
