"""`hotswap init`: a module that builds, tests and deploys as it is. The templates are the folders of `starter/`."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.module_names import is_module_name
from app.cli.errors import UsageProblem
from app.cli.invocation import invocation

STARTER = Path(__file__).with_name("starter")
PLACEHOLDER = "my-module"  # the module's name in every file of a template, which is thereby a valid module itself
# A template's own name for a file that tools would act on where it lies.
_RENAMED = {"hotswapignore": ".hotswapignore"}
_LEFT_BY_TOOLS = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


class Language(StrEnum):
    PYTHON = "python"
    NODE = "node"
    JAVA = "java"
    STATIC = "static"


class ModuleKind(StrEnum):
    PROCESS = "process"
    FILES = "files"


_LANGUAGE_OF = {ModuleKind.PROCESS: Language.PYTHON, ModuleKind.FILES: Language.STATIC}


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    language: Annotated[Language | None, typer.Option("--language", "-l", help="What it is written in.")] = None,
    name: Annotated[str | None, typer.Option(help="The module's name; else the folder's.")] = None,
    kind: Annotated[ModuleKind | None, typer.Option(help="process: --language python; files: static.")] = None,
) -> None:
    """A module to start from, in a new folder: it builds, tests and deploys as it is. No server is asked.

    python (the default), node and java are web services without dependencies, static is a site. Its README says more.
    """
    run = invocation(ctx)
    chosen = _language(language, kind)
    module = name or _name_of(folder)
    if not is_module_name(module):
        raise UsageProblem(f"{module!r} cannot be a module's name (3 to 64 of a-z, 0-9 and -): give one with --name")
    files = template(chosen, module)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageProblem(f"{folder} is not empty: choose a new folder")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise UsageProblem(f"cannot write {folder}: {error.strerror}") from None
    value = {"folder": str(folder), "moduleName": module, "language": chosen.value, "files": sorted(files)}
    run.output.result(value, [f"Module {module} ({chosen.value}) in {folder}: {', '.join(sorted(files))}"])
    run.output.say(f"Next: hotswap release publish {folder} ; hotswap deploy {module} 1.0.0 --to Development --watch")


def template(language: Language, module: str) -> dict[str, bytes]:
    """Path below the module's folder -> content, for a module of this name."""
    root = STARTER / language.value
    files = {}
    for source in sorted(root.rglob("*")):
        path = source.relative_to(root)
        if source.is_file() and not _LEFT_BY_TOOLS & set(path.parts):
            named = path.with_name(_RENAMED.get(path.name, path.name)).as_posix()
            files[named] = source.read_bytes().replace(PLACEHOLDER.encode(), module.encode())
    return files


def _language(language: Language | None, kind: ModuleKind | None) -> Language:
    if kind is None:
        return language or Language.PYTHON
    if language is not None and (language is Language.STATIC) != (kind is ModuleKind.FILES):
        raise UsageProblem(f"--language {language.value} is not of --kind {kind.value}: leave --kind out")
    return language or _LANGUAGE_OF[kind]


def _name_of(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")
