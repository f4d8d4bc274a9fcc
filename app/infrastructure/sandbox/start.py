"""Starts a program of ours in the sandbox, where only the folder of the package `app` can be read, not the one that it
lies in.

Run as a file, by an isolated interpreter: `python -I -B start.py MODULE ARGUMENT ...` calls `MODULE.main(arguments)`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def _start() -> None:
    folder = Path(__file__).resolve().parents[2]
    found = importlib.util.spec_from_file_location(
        "app", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert found is not None
    assert found.loader is not None
    package = importlib.util.module_from_spec(found)
    sys.modules["app"] = package
    found.loader.exec_module(package)
    importlib.import_module(sys.argv[1]).main(sys.argv[2:])


if __name__ == "__main__":
    _start()
