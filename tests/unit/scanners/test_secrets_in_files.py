"""Secrets: what is found, how grave it is, and that it is told without being repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from app.infrastructure.scanners.report import Reason, report_json
from tests.unit.scanners.looked_at import found, left_out, looked_at

# Put together here, so that no scanner takes this file's own text for the real thing.
AWS = "AKIA" + "Q3EGPJ7ZM4TRNBWY"
GITHUB = "ghp" + "_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
FINE_GRAINED = "github" + "_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz"
SLACK = "xoxb" + "-123456789012-123456789012-a1B2c3D4e5F6g7H8"
STRIPE = "sk" + "_live_" + "a1B2c3D4e5F6g7H8i9J0k1L2"
NPM = "//registry.npmjs.org/:" + "_authToken=" + "npm_a1B2c3D4e5F6g7H8i9J0"
GITLAB = "glpat" + "-" + "a1B2c3D4e5F6g7H8i9J0"
PASSWORD = "correct-Horse7battery"


def private_key(encryption: KeySerializationEncryption | None = None) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("name", "line", "rule"),
    [
        ("app.py", f"key = '{AWS}'", "secret.aws-key"),
        ("notes.txt", f"use {GITHUB} for now", "secret.github-token"),
        ("README.md", FINE_GRAINED, "secret.github-token"),
        ("a/b/c.json", f'{{"slack": "{SLACK}"}}', "secret.slack-token"),
        ("run.sh", f"export STRIPE={STRIPE}", "secret.stripe-key"),
        (".npmrc", NPM, "secret.npm-token"),
        ("ci.yml", f"token: {GITLAB}", "secret.gitlab-token"),
        ("min.js", "x" * 10_000 + f"({AWS})" + "x" * 10_000, "secret.aws-key"),
        ("none", AWS, "secret.aws-key"),
        ("log.txt", f"X-Amz-Credential={AWS}/20260101/eu-west-1/s3/aws4_request", "secret.aws-key"),
    ],
)
def test_known_forms_of_tokens_are_of_high_severity(tmp_path: Path, name: str, line: str, rule: str) -> None:
    report = looked_at(tmp_path, {name: f"first\n{line}\n"})
    assert found(report, "secret.") == [(rule, "high", name, 2)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("config.yaml", f"password: {PASSWORD}"),
        ("application.properties", f"spring.datasource.password={PASSWORD}"),
        ("settings.json", f'{{"db_password": "{PASSWORD}"}}'),
        (".env", f"DB_PASSWORD={PASSWORD}"),
        (".env.production", f"API_KEY={PASSWORD}"),
        ("Dockerfile", f"ENV SECRET={PASSWORD}"),
        ("app.py", f'password = "{PASSWORD}"'),
        ("app.ts", f'const apiKey = "{PASSWORD}";'),
        ("settings.xml", f"<server><password>{PASSWORD}</password></server>"),
        ("db.ini", f"url = postgres://user:{PASSWORD}@db.internal/x"),
    ],
)
def test_passwords_are_of_medium_severity(tmp_path: Path, name: str, line: str) -> None:
    assert [each[1:] for each in found(looked_at(tmp_path, {name: line}), "secret.")] == [("medium", name, 1)]


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['PASSWORD']",
        "password = settings.database.password",
        'password = "${DB_PASSWORD}"',
        'password = "{{ vault_password }}"',
        'password = "<your password>"',
        "secret = get_secret('name')",
        'password = ""',
        'secret_name = "/etc/hotswap/secret.pem"',
        'key = "PATH"',
        f"data = {'xYz0' + AWS + 'xYz0'}",
        "image = ABIAAAAAAAAAAAAAAAAA",
    ],
)
def test_where_a_password_comes_from_is_no_password(tmp_path: Path, line: str) -> None:
    assert found(looked_at(tmp_path, {"app.py": line, "c.yaml": line}), "secret.") == []


def test_what_stands_in_for_a_password_is_of_low_severity(tmp_path: Path) -> None:
    report = looked_at(tmp_path, {"app.yaml": "password: changeme\nsecret: your-secret-here\n"})
    assert [each[1] for each in found(report, "secret.password")] == ["low", "low"]


def test_random_looking_text_is_a_guess_of_low_severity(tmp_path: Path) -> None:
    text = 'salt = "q8Zr2LxV9tKp4WnB7sYd1HcJ6mFg3Qa0"\nmark = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"\n'
    report = looked_at(tmp_path, {"a.py": text, "a.md": text, "package-lock.json": text, "x.min.js": text})
    assert found(report, "secret.") == [
        ("secret.random-base64", "low", "a.py", 1),
        ("secret.random-hex", "low", "a.py", 2),
    ]


def test_private_keys_are_found_however_they_are_written(tmp_path: Path) -> None:
    key = private_key()
    files: dict[str, str | bytes] = {
        "key.pem": "# my key\n" + key,
        "service.json": json.dumps({"private_key": key}),
        "app.yaml": "key: |\n" + "".join(f"    {line}\n" for line in key.splitlines()),
        "app.py": "KEY = (" + "\n".join(f"    '{line}\\n' +" for line in key.splitlines()) + "'')\n",
        "windows.pem": key.replace("\n", "\r\n"),
        "wide.pem": "\ufeff".encode("utf-16-le") + key.encode("utf-16-le"),
    }
    keys = found(looked_at(tmp_path, files), "secret.private-key")
    assert keys == [
        ("secret.private-key", "high", name, 2 if name in ("key.pem", "app.yaml") else 1) for name in sorted(files)
    ]


def test_an_encrypted_key_is_less_grave_and_a_header_alone_is_nothing(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "locked.pem": private_key(BestAvailableEncryption(b"pass")),
        "read.py": "HEADER = '-----BEGIN PRIVATE KEY-----'\nif text.startswith(HEADER):\n    load(text)\n",
    }
    assert [each[1:3] for each in found(looked_at(tmp_path, files), "secret.")] == [("medium", "locked.pem")]


def test_no_secret_is_repeated_in_a_report(tmp_path: Path) -> None:
    secrets = [AWS, GITHUB, SLACK, STRIPE, GITLAB, PASSWORD, "q8Zr2LxV9tKp4WnB7sYd1HcJ6mFg3Qa0"]
    code = "\n".join(f"password{number} = '{secret}'" for number, secret in enumerate(secrets))
    call = f"\npassword = '{PASSWORD}'\nconnect(password='{PASSWORD}')\ndef f(password='{PASSWORD}'): pass\n"
    report = looked_at(tmp_path, {"app.py": code + call, "app.yaml": code, "key.pem": private_key()})
    told = json.dumps(report_json(report))
    assert {each.rule for each in report.findings} >= {"bandit.B105", "bandit.B106", "bandit.B107", "secret.password"}
    assert not [secret for secret in secrets if secret in told]


def test_the_same_secret_in_two_places_has_the_same_hash(tmp_path: Path) -> None:
    report = looked_at(tmp_path, {"a.txt": AWS, "b.txt": f"other {AWS}", "c.txt": AWS[:-1] + "Z"})
    texts = [each.text for each in report.findings]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("mark", ["  # pragma: allowlist secret", "  # nosec", "  # gitleaks:allow"])
def test_who_is_looked_through_does_not_decide_what_is_found(tmp_path: Path, mark: str) -> None:
    assert [each[1] for each in found(looked_at(tmp_path, {"app.py": f"key = '{AWS}'{mark}"}), "secret.")] == ["high"]


def test_in_a_dependency_only_known_forms_are_looked_for_and_are_less_grave(tmp_path: Path) -> None:
    text = f"key = '{AWS}'\npassword = '{PASSWORD}'\n"
    report = looked_at(tmp_path, {"node_modules/a/index.js": text, "lib/site-packages/b/c.js": text})
    assert [each[1] for each in found(report, "secret.")] == ["medium", "medium"]


def test_binary_and_packed_files_are_counted(tmp_path: Path) -> None:
    report = looked_at(tmp_path, {"a.bin": b"\0" + AWS.encode(), "b.tgz": b"\x1f\x8b\0\0"})
    assert found(report, "secret.") == []
    binary, packed = left_out(report, Reason.BINARY), left_out(report, Reason.PACKED)
    assert binary is not None
    assert packed is not None
    assert (binary.example, packed.example) == ("a.bin", "b.tgz")


def test_a_very_long_line_is_searched_for_known_forms_and_that_is_said(tmp_path: Path) -> None:
    line = "x" * 4000 + f".{AWS}." + "y" * 1_000_000
    report = looked_at(tmp_path, {"app.js": f"{line}\n"})
    assert found(report, "secret.") == [("secret.aws-key", "high", "app.js", 1)]
    assert left_out(report, Reason.LONG_LINE) is not None
