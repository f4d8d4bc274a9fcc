"""beforeInstall: checks that there is room, and writes the version into the release while nobody sees it yet.

Exit code 1 stops the installation before anything has changed. The file is written aside and renamed, so that running
the hook twice does no harm.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

LEAST_FREE_BYTES = 1024 * 1024

folder = os.environ["HOTSWAP_DATA_DIR"]
space = os.statvfs(folder)
free = space.f_bavail * space.f_frsize
if free < LEAST_FREE_BYTES:
    sys.exit(f"only {free} bytes are free in {folder}, {LEAST_FREE_BYTES} are needed")

version = {"module": os.environ["HOTSWAP_MODULE"], "version": os.environ["HOTSWAP_VERSION"]}
target = Path("public/version.json")
fresh = target.with_suffix(".json.new")
fresh.write_text(json.dumps(version) + "\n", "utf-8")
fresh.replace(target)
print(f"{free // 2**20} MiB are free in {folder}; wrote {target}: {version}")
