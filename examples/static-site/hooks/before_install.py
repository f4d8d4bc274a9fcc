"""beforeInstall: is there room for the site's data? Exit code 1 stops the installation before anything changes."""

from __future__ import annotations

import os
import sys

LEAST_FREE_BYTES = 1024 * 1024

folder = os.environ["HOTSWAP_DATA_DIR"]
space = os.statvfs(folder)
free = space.f_bavail * space.f_frsize
if free < LEAST_FREE_BYTES:
    sys.exit(f"only {free} bytes are free in {folder}, {LEAST_FREE_BYTES} are needed")
print(f"{free // 2**20} MiB are free in {folder}")
