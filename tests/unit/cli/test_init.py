"""`hotswap init`: which template, under which name, into which folder. What the templates do: integration/starters."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest

from app.cli.exit_codes import ExitCode
from app.cli.init import PLACEHOLDER, STARTER, Language, template
from tests.unit.cli.harness import hotswap

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("flags", "language"),
    [
        ((), "python"),
        (("--language", "node"), "node"),
        (("-l", "java"), "java"),
        (("--language", "static"), "static"),
        (("--kind", "process"), "python"),
        (("--kind", "files"), "static"),
        (("--kind", "process", "--language", "java"), "java"),
    ],
)
def test_the_language_chooses_the_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], language: str
) -> None:
    assert hotswap("init", str(tmp_path / "Shop Web"), *flags, "-o", "json", home=tmp_path) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["moduleName"], made["language"]) == ("shop-web", language)
    folder = tmp_path / "Shop Web"
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == {*made["files"]}
    assert hotswap("lint", str(folder), home=tmp_path) == 0


@pytest.mark.parametrize("language", Language)
def test_a_template_is_whole_and_only_the_name_changes(language: Language) -> None:
    own, named = template(language, PLACEHOLDER), template(language, "shop")
    assert {"hotswap.yaml", "README.md", ".hotswapignore"} <= set(own)
    assert not [path for path in own if "__pycache__" in path or path.endswith(".pyc")]
    for path, content in named.items():
        assert PLACEHOLDER.encode() not in content
        assert content == own[path].replace(b"my-module", b"shop")


def test_a_name_is_given_or_made_of_the_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotswap("init", str(tmp_path / "x"), "--name", "payment-processor", home=tmp_path) == 0
    assert "name: payment-processor\n" in (tmp_path / "x" / "hotswap.yaml").read_text()
    assert hotswap("init", str(tmp_path / "y"), home=tmp_path) == ExitCode.USAGE
    assert hotswap("init", str(tmp_path / "y"), "--name", "Nö", home=tmp_path) == ExitCode.USAGE
    assert "--name" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_kind_and_language_that_contradict_each_other_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, language in (("files", "node"), ("process", "static")):
        assert hotswap("init", str(tmp_path / "abc"), "--kind", kind, "-l", language, home=tmp_path) == ExitCode.USAGE
        assert "leave --kind out" in capsys.readouterr().err
    assert not (tmp_path / "abc").exists()


def test_an_installed_package_has_every_template() -> None:
    """The patterns of setup.cfg reach every file: they are not packages, so nothing else would take them along."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = setup["options.package_data"]["app.cli"].split(",")
    taken = {path for pattern in patterns for path in (ROOT / "app" / "cli").glob(pattern.strip() + "/*")}
    files = {each for each in STARTER.rglob("*") if each.is_file()}
    assert {each for each in files if "__pycache__" not in each.parts} <= taken
    assert not [each for each in files if each.name.startswith(".")]  # which such a pattern would not reach
