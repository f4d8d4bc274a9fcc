"""afterInstall: writes the version into the site. Written aside and renamed, so that running it twice does no harm."""

from __future__ import annotations

import json
import os
from pathlib import Path

version = {key: os.environ[f"HOTSWAP_{key.upper()}"] for key in ("module", "version")}
target = Path("public/version.json")
fresh = target.with_suffix(".json.new")
fresh.write_text(json.dumps(version) + "\n", "utf-8")
fresh.replace(target)
print(f"wrote {target}: {version}")
