"""`hotswap init`: a module that can be published and deployed as it is."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.errors import UsageProblem
from app.cli.invocation import invocation

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]")

_PROCESS = """\
name: {name}
version: 1.0.0
kind: process
run:
  command: ["python3", "server.py"]    # inherits the listening socket as file descriptor 3
  listen: "0.0.0.0:8080"
health: {{path: /healthz, timeout: 2, interval: 0.5, successes: 2, startTimeout: 30}}
metrics: {{path: /metrics}}
drain: {{timeout: 30}}
validate:
  - {{path: /, status: 200}}
"""
_FILES = """\
name: {name}
version: 1.0.0
kind: files
files:
  destination: /srv/{name}    # where `public` appears on every node
hooks:
  validateService: {{command: ["sh", "hooks/validate.sh"], timeout: 30}}
"""
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title></head>
<body><h1>{name}</h1></body></html>
"""
_VALIDATE = """\
#!/bin/sh
# validateService: after the switch. An exit code other than 0 brings the release before back.
set -eu
test -s public/index.html
echo "public/index.html is there"
"""
_IGNORE = """\
# What does not go into the archive; .git, .venv, __pycache__ and the like never do.
*.log
.env
"""


class ModuleKind(StrEnum):
    PROCESS = "process"
    FILES = "files"


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    name: Annotated[str | None, typer.Option(help="The module's name; else the folder's.")] = None,
    kind: Annotated[ModuleKind, typer.Option(help="A program that serves, or files.")] = ModuleKind.PROCESS,
) -> None:
    """A module to start from, in a new folder: it can be published as it is. No server is asked."""
    run = invocation(ctx)
    module = name or _name_of(folder)
    if not _NAME.fullmatch(module):
        raise UsageProblem(f"{module!r} cannot be a module's name (3 to 64 of a-z, 0-9 and -): give one with --name")
    files = _process(module) if kind is ModuleKind.PROCESS else _files(module)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageProblem(f"{folder} is not empty: choose a new folder")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot write {folder}: {error.strerror}") from None
    value = {"folder": str(folder), "moduleName": module, "files": sorted(files)}
    run.output.result(value, [f"Module {module} in {folder}: {', '.join(sorted(files))}"])
    run.output.say(f"Next: hotswap release publish {folder} ; hotswap deploy {module} 1.0.0 --to Development --watch")


def _name_of(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")


def _process(name: str) -> dict[str, str]:
    server = Path(__file__).with_name("starter") / "server.py"
    return {
        "hotswap.yaml": _PROCESS.format(name=name),
        "server.py": server.read_text(encoding="utf-8"),
        ".hotswapignore": _IGNORE,
    }


def _files(name: str) -> dict[str, str]:
    return {
        "hotswap.yaml": _FILES.format(name=name),
        "public/index.html": _PAGE.format(name=name),
        "hooks/validate.sh": _VALIDATE,
        ".hotswapignore": _IGNORE,
    }
