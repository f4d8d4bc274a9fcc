"""Policies in files: YAML as in the documentation, and the editor that people change it with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from app.cli.errors import UsageProblem
from app.cli.invocation import Invocation

_ORDER = (
    "name",
    "module",
    "order",
    "strategy",
    "maxConcurrentNodes",
    "unavailableAfter",
    "nodeLostAfter",
    "unavailableNodes",
    "maxUnavailableAtStart",
    "maxFailedNodes",
    "onNodeLost",
    "rolling",
    "canary",
    "blueGreen",
    "judge",
    "approvals",
    "scan",
    "build",
    "supersede",
    "overtaken",
    "pausedTimeout",
    "onPausedTimeout",
    "allowDowngrade",
    "predecessors",
    "freeze",
    "locked",
)
_LARGEST_FILE = 256 * 1024
_STDERR = 2
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """A policy is JSON, which has no dates: `2027-03-31` is a text, with quotes or without."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in yaml.SafeLoader
        first: [each for each in resolvers if each[0] != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_time(self, node: yaml.Node) -> str:
        """Where somebody wrote the tag: the text behind it."""
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a time is a text", node.start_mark)
        return str(node.value)


_Loader.add_constructor(_TIMESTAMP, _Loader.construct_time)


def text_of(policy: dict[str, Any]) -> str:
    """As YAML in the order of the documentation; the server's is none, and what we do not know comes last."""
    known = {name: policy[name] for name in _ORDER if name in policy}
    return yaml.safe_dump({**known, **policy}, sort_keys=False, allow_unicode=True, width=100)


def read(file: Path) -> str:
    """A file, or stdin for `-`. Raises UsageProblem."""
    try:
        if str(file) == "-":
            return sys.stdin.read(_LARGEST_FILE + 1)
        with file.open(encoding="utf-8") as opened:
            return opened.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UsageProblem(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{file} is not text in UTF-8") from None


def parsed(text: str, where: str) -> dict[str, Any]:
    """A mapping of plain values. Raises UsageProblem with the line that is wrong."""
    if len(text) > _LARGEST_FILE:
        raise UsageProblem(f"{where} is too long for a policy")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise UsageProblem(f"{where}: aliases (*name) are not taken here; write it out")
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageProblem(f"{where}{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageProblem(f"{where} is not YAML: {error}") from None
    if not isinstance(value, dict):
        raise UsageProblem(f"{where} is no policy: it is a mapping that starts like 'name: QA'")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageProblem(f"{where} has a value that JSON has not (dates are texts): {error}") from None
    return value


def temporary(environment: str) -> Path:
    """An empty file of the user's own, named for the environment."""
    word = "".join(letter for letter in environment if letter.isalnum()) or "policy"
    descriptor, name = tempfile.mkstemp(prefix=f"hotswap-{word}-", suffix=".yaml")
    os.close(descriptor)
    return Path(name)


def run_editor(run: Invocation, file: Path) -> None:
    """Let somebody edit it. Raises UsageProblem; a file whose editor failed is kept.

    With `--output json` stdout is for the answer alone: the editor draws where errors go.
    """
    editor = run.environment.get("VISUAL") or run.environment.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], stdout=_STDERR if run.output.json else None)
    except (OSError, ValueError) as error:
        file.unlink(missing_ok=True)
        raise UsageProblem(f"cannot start the editor {editor!r} (VISUAL or EDITOR names another): {error}") from None
    if done.returncode != 0:
        raise UsageProblem(
            f"the editor ended with {done.returncode}: nothing was sent; your text is in {file}", kept=file
        )
