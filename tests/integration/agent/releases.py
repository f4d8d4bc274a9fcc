"""Small modules to deploy: archives made of texts, signed by a key of the test."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from agent.archive import pack_bytes
from agent.signatures import Digest, PrivateKey, generate, key_id, sign

SERVER = (Path(__file__).parent / "module_server.py").read_text()


@dataclass(frozen=True, slots=True)
class Release:
    """A signed archive, as a publisher would send it."""

    name: str
    version: str
    archive: bytes
    digest: str
    signature: str
    key_id: str

    def target(self) -> dict[str, object]:
        """The `target` of a command."""
        return {
            "digest": self.digest,
            "version": self.version,
            "sizeBytes": len(self.archive),
            "signature": self.signature,
            "keyId": self.key_id,
        }


def release(manifest: str, files: dict[str, str | bytes] | None = None, key: PrivateKey | None = None) -> Release:
    """An archive of a manifest and further files; a name that ends in .sh is executable."""
    key = key or generate()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in {"hotswap.yaml": manifest, **(files or {})}.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            file.chmod(0o755 if name.endswith(".sh") else 0o644)
        archive = pack_bytes(root)
    lines = dict(line.split(": ", 1) for line in manifest.splitlines() if line.startswith(("name: ", "version: ")))
    digest = Digest.of_bytes(archive)
    return Release(lines["name"], lines["version"], archive, str(digest), sign(key, digest), key_id(key.public_key()))


def website(version: str, key: PrivateKey, more: str = "", files: dict[str, str | bytes] | None = None) -> Release:
    """A `files` module whose index.html says its version."""
    manifest = f"name: web-site\nversion: {version}\nkind: files\n{more}"
    return release(manifest, {"index.html": version, **(files or {})}, key)


def service(version: str, key: PrivateKey, *, behaviour: str = "good", more: str = "", run: str = "") -> Release:
    """A `process` module that answers its version; `module_server.py` says which behaviours it knows."""
    manifest = (
        f"name: web-service\nversion: {version}\nkind: process\n"
        f"run:\n  command: [python3, -S, -E, server.py, {behaviour}]\n"
        f"  listen: 127.0.0.1:0\n{run}"
        + (more or "health: {path: /healthz, timeout: 5, interval: 0.05, successes: 2, startTimeout: 20}\n")
        + ("" if "drain:" in more else "drain: {timeout: 10}\n")
    )
    return release(manifest, {"server.py": SERVER}, key)
