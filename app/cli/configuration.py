"""Which server, as whom, and how to answer: flags, then HOTSWAP_*, then ~/.config/hotswap/config.toml.

A server is a URL or a name (`servers.py`). Last come what `hotswap login` remembers and, for the person who just typed
`hotswap up`, what the local stack has in its data folder: its URL while it runs (`run/stack.json`), and the development
key.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cli.errors import UsageProblem
from app.cli.kept_logins import Account, KeptLogins
from app.cli.server_url import API
from app.cli.servers import NamedServer, Wanted, choose, named_servers, wanted
from app.cli.sessions import SessionFile

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_DATA_DIR = Path(__file__).resolve().parents[2] / "var" / "local"  # as `hotswap up` has it
STACK_FILE = Path("run", "stack.json")
DEVELOPMENT_KEY = Path("keys", "development.key")
TRUSTED_FOLDER = Path("keys", "trusted")
PEM_BEGINS = "-----BEGIN"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_KNOWN_KEYS = frozenset({"url", "server", "servers", "output", "signing_key", "data_dir", "login"})


class OutputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Flags:
    """What was given on the command line."""

    url: str | None = None
    output: OutputFormat | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Secrets are kept out of repr. `signing_key` None: none was named, and no local stack has one.

    `signing_key_pem` is HOTSWAP_SIGNING_KEY where that is a key and no file's name. `trusted_folder`: where the nodes
    of the local stack that we talk to have their trusted keys, None for other servers.
    `server` is the name of the server, None for one that only has a URL; `servers` are all that have a name.
    `before_default`: what in environment or file comes before the default of logins.
    """

    url: str
    output: OutputFormat
    sessions: SessionFile
    data_dir: Path
    token: str | None = None
    username: str | None = None
    password: str | None = None
    signing_key: Path | None = None
    signing_key_pem: str | None = None
    trusted_folder: Path | None = None
    server: str | None = None
    servers: Mapping[str, NamedServer] = field(default_factory=dict)
    before_default: str | None = None

    def __repr__(self) -> str:
        return f"Configuration(url={self.url!r})"

    @property
    def account(self) -> Account:
        """Whose login is used."""
        return Account(self.url, self.server)

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


def configuration_path(environment: Mapping[str, str]) -> Path:
    """`HOTSWAP_CONFIG`, else `hotswap/config.toml` where XDG keeps configurations."""
    if named := environment.get("HOTSWAP_CONFIG"):
        return Path(named).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".config"
    return Path(base) / "hotswap" / "config.toml"


def configure(flags: Flags, environment: Mapping[str, str]) -> Configuration:
    """The configuration in force. Raises UsageProblem for what cannot be used."""
    path = configuration_path(environment)
    file = _read(path)
    _refuse_unknown(file, path)
    sessions = SessionFile(path)
    data_dir = Path(environment.get("HOTSWAP_DATA_DIR") or _text(file, "data_dir", path) or DEFAULT_DATA_DIR)
    stack_url = _stack_url(data_dir)
    kept = sessions.logins()
    servers = named_servers(file, kept, path)
    given = wanted("--url and --server", flags.url, flags.server)
    lasting = [
        wanted("HOTSWAP_URL and HOTSWAP_SERVER", environment.get("HOTSWAP_URL"), environment.get("HOTSWAP_SERVER")),
        wanted(f"url and server in {path}", _text(file, "url", path), _text(file, "server", path)),
    ]
    url, server = choose([given, *lasting, _remembered(kept, servers)], servers, stack_url or DEFAULT_URL)
    output = flags.output or _output(environment.get("HOTSWAP_OUTPUT") or _text(file, "output", path) or "text")
    servers_key = server.signing_key if server is not None else None
    given_key = environment.get("HOTSWAP_SIGNING_KEY") or ""
    key_itself = given_key if PEM_BEGINS in given_key else None
    named_key = (given_key if key_itself is None else None) or servers_key or _text(file, "signing_key", path)
    stack_key = _of_the_stack(data_dir / DEVELOPMENT_KEY, url, stack_url)
    return Configuration(
        url=url,
        output=output,
        sessions=sessions,
        data_dir=data_dir,
        token=environment.get("HOTSWAP_TOKEN") or None,
        username=environment.get("HOTSWAP_USERNAME") or None,
        password=environment.get("HOTSWAP_PASSWORD") or None,
        signing_key=Path(named_key).expanduser() if named_key else stack_key,
        signing_key_pem=key_itself,
        trusted_folder=_of_the_stack(data_dir / TRUSTED_FOLDER, url, stack_url),
        server=server.name if server is not None else None,
        servers=servers,
        before_default=next((place.where for place in lasting if place), None),
    )


def _remembered(kept: KeptLogins, servers: Mapping[str, NamedServer]) -> Wanted:
    """The default of logins; a name that nobody knows any more is none."""
    if kept.default_name is not None and kept.default_name in servers:
        return Wanted("the last login", name=kept.default_name)
    return Wanted("the last login", url=kept.default_url)


def _of_the_stack(path: Path, url: str, stack_url: str | None) -> Path | None:
    """What the local stack has there, when it is that stack that we talk to."""
    same = urlsplit(url).hostname in _LOOPBACK and (stack_url is None or stack_url == url)
    try:
        return path if same and path.exists() else None
    except OSError:
        return None


def _stack_url(data_dir: Path) -> str | None:
    """Where the local stack's API is, while it runs; somebody else's stack, and what it left half written, are none."""
    try:
        url = json.loads((data_dir / STACK_FILE).read_text(encoding="utf-8"))["urls"]["api"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url.rstrip("/").removesuffix(API) if isinstance(url, str) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path} is not TOML: {error}") from None


def _refuse_unknown(file: Mapping[str, Any], path: Path) -> None:
    unknown = sorted(set(file) - _KNOWN_KEYS)
    if unknown:
        known = ", ".join(sorted(_KNOWN_KEYS - {"login"}))
        raise UsageProblem(f"{path} has a setting that does not exist: {', '.join(unknown)} (there are {known})")


def _text(file: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = file.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageProblem(f"{path}: {key} must be a text in quotes")
    return value or None


def _output(word: str) -> OutputFormat:
    try:
        return OutputFormat(word.lower())
    except ValueError:
        raise UsageProblem(f"there is no output format {word!r}: choose text or json") from None
