"""Which key signs, and that no message repeats one: build servers put keys where names of files are wanted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.signatures import generate, private_pem
from app.cli.exit_codes import ExitCode
from tests.unit.cli.harness import Api, answer, hotswap

PEM = private_pem(generate()).decode()
BODY = "".join(PEM.splitlines()[1:-1])
RELEASE = {"moduleName": "web", "version": "1.0.0", "digest": "sha256:0", "sizeBytes": 5}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "hotswap.yaml").write_text("name: web\nversion: 1.0.0\nkind: process\n")
    return folder


@pytest.mark.parametrize("pem", [PEM, PEM.strip()])  # a shell's $(...) takes the last line feed away
def test_the_variable_may_hold_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: Path, pem: str
) -> None:
    api = Api()
    api.on("POST", "/modules/web/releases", answer(RELEASE, 201))
    variable = {"HOTSWAP_SIGNING_KEY": pem}
    assert hotswap("release", "publish", str(module), home=tmp_path, api=api, environment=variable) == 0
    out, err = capsys.readouterr()
    assert BODY not in out + err


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize(
    "key",
    [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", " "),
        BODY,
        BODY[:44],
        f"keys/{BODY}",
        "A" * 5000,
        PEM.replace(BODY, BODY[:20] + "!" + BODY[21:]),
        PEM.replace("PRIVATE", "OPENSSH PRIVATE"),
    ],
    ids=["pem", "escaped", "one line", "body", "half", "in a path", "long", "damaged", "openssh"],
)
@pytest.mark.parametrize("way", ["variable", "flag", "configuration"])
def test_a_key_is_never_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: Path, output: str, key: str, way: str
) -> None:
    loads = way == "variable" and key in (PEM, PEM.replace("\n", " "))
    file = tmp_path / "config.toml"
    file.write_text(f"signing_key = '''{key}'''\n" if way == "configuration" else "")
    variables = {"HOTSWAP_CONFIG": str(file)} | ({"HOTSWAP_SIGNING_KEY": key} if way == "variable" else {})
    flag = ("--key", key) if way == "flag" else ()
    code = hotswap("release", "publish", str(module), "-o", output, *flag, home=tmp_path, environment=variables)
    out, err = capsys.readouterr()
    assert code == (ExitCode.REFUSED if loads else ExitCode.USAGE)  # refused: nothing is scripted to take the upload
    assert out == ""
    parts = re.findall("[A-Za-z0-9+/]{12}", key)
    assert not [part for part in parts if part in err], err


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("before", [(), ("--",), ("--notes",), ("--metadata",), ("--build-url", "x", "--strategy")])
def test_a_key_as_some_other_argument_is_not_repeated_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: Path, output: str, before: tuple[str, ...]
) -> None:
    arguments = ("release", "publish", str(module), "-o", output, *before, PEM)
    assert hotswap(*arguments, home=tmp_path) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert BODY[:12] not in out + err
    assert BODY[20:32] not in out + err


def test_what_is_a_files_name_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], module: Path) -> None:
    for path in ("team.key", "/run/secrets/publisher.key", "C:\\keys\\a b.pem"):
        assert hotswap("release", "publish", str(module), "--key", path, home=tmp_path) == ExitCode.USAGE
        assert f"cannot read the signing key {path}: No such file" in capsys.readouterr().err
    (tmp_path / "empty.key").touch()
    assert hotswap("release", "publish", str(module), "--key", str(tmp_path / "empty.key"), home=tmp_path) == 2
    assert "is empty" in capsys.readouterr().err
