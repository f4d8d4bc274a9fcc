"""The shell parts of deploy/ci, taken out of their files as the build servers take them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "ci"
CURL = FOLDER / "curl.sh"
_EXPRESSION = re.compile(r"\$\{\{\s*(vars|secrets)\.(\w+)\s*}}")


@dataclass(frozen=True)
class Script:
    """`environment` is what the file itself gives it. `shell` is the command that the build server starts."""

    name: str
    text: str
    shell: tuple[str, ...]
    environment: Mapping[str, str]


def github(settings: Mapping[str, str]) -> list[Script]:
    """Its `run` steps, with `settings` as variables and secrets of the repository."""
    workflow: dict[str, Any] = yaml.load((FOLDER / "github-actions.yml").read_text(), yaml.BaseLoader)
    (job,) = workflow["jobs"].values()

    def known(environment: Mapping[str, str]) -> dict[str, str]:
        return {
            key: _EXPRESSION.sub(lambda match: settings[match[2]], value) for key, value in environment.items()
        }

    return [
        Script(
            step["name"], step["run"], ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"),
            known({**workflow["env"], **step.get("env", {})}),
        )
        for step in job["steps"]
        if "run" in step
    ]  # fmt: skip


def gitlab() -> list[Script]:
    """`before_script` and `script`; the lines of each run in one shell, as the runner's do."""
    pipeline: dict[str, Any] = yaml.safe_load((FOLDER / "gitlab-ci.yml").read_text())
    job = pipeline["deploy-to-qa"]
    return [
        Script(part, "\n".join(job[part]), ("bash", "-eo", "pipefail", "-c"), job["variables"])
        for part in ("before_script", "script")
    ]


def jenkins() -> list[Script]:
    """Every `sh` of its stages. Groovy joins a line that ends with a backslash to the next."""
    text = (FOLDER / "Jenkinsfile").read_text()
    given = dict(re.findall(r"^ +([A-Z_]+) = '([^']*)'$", text, re.MULTILINE))
    stages = re.findall(r"stage\('(\w+)'\).*?'''(.*?)'''", text, re.DOTALL)
    return [
        Script(name, textwrap.dedent(body.replace("\\\n", "")), ("sh", "-xec"), given) for name, body in stages
    ]
