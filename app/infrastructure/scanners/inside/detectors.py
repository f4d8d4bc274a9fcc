"""What a secret looks like. Most of it is detect-secrets' own detectors, without its network verification; here is
which of them are used, how sure a hit is, and by which substrings a line can be passed over quickly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import BasePlugin
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.keyword import KeywordDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

from app.domain.findings import Severity


@dataclass(frozen=True, slots=True)
class Detector:
    """`find` gives the secrets of a line of a file (of that name, by whose ending its kind is told). Lines that `hint`
    says nothing of are not given to it."""

    rule: str
    kind: str
    severity: Severity
    hint: Callable[[str], bool]
    find: Callable[[str, str], Iterator[str]]


def _any_of(*words: str) -> Callable[[str], bool]:
    return lambda line: any(word in line for word in words)


def _pattern(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression)
    return lambda line: compiled.search(line) is not None


def _of_library(plugin: BasePlugin) -> Callable[[str, str], Iterator[str]]:
    def find(name: str, line: str) -> Iterator[str]:
        # In an order of its own: the library answers with a set.
        found = plugin.analyze_line(filename=name, line=line)
        yield from sorted({secret.secret_value for secret in found if secret.secret_value})

    return find


def _of_pattern(expression: str) -> Callable[[str, str], Iterator[str]]:
    compiled = re.compile(expression)

    def find(_name: str, line: str) -> Iterator[str]:
        yield from compiled.findall(line)

    return find


def _aws_keys() -> Callable[[str, str], Iterator[str]]:
    """The library's, but for what stands within base64: `ABIAAAAA...` is a row of zeros, not a key."""
    find = _of_library(AWSKeyDetector())

    def find_whole(name: str, line: str) -> Iterator[str]:
        for secret in find(name, line):
            at = line.find(secret)
            around = line[max(at - 1, 0) : at] + line[at + len(secret) : at + len(secret) + 1]
            if len(set(secret)) >= _LEAST_VARIETY and not _OF_BASE64.search(around):
                yield secret

    return find_whole


def _from_library(
    name: str, kind: str, hint: Callable[[str], bool], plugin: BasePlugin, severity: Severity = Severity.HIGH
) -> Detector:
    return Detector(f"secret.{name}", kind, severity, hint, _of_library(plugin))


def _from_pattern(
    name: str, kind: str, hint: Callable[[str], bool], expression: str, severity: Severity = Severity.HIGH
) -> Detector:
    return Detector(f"secret.{name}", kind, severity, hint, _of_pattern(expression))


_LEAST_VARIETY = 8
_OF_BASE64 = re.compile("[A-Za-z0-9+]")
_MEDIUM, _LOW = Severity.MEDIUM, Severity.LOW
_GITLAB = r"(?:gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent)|gloas)-|GR1348941"

# Patterns that hardly anything else matches; of those that something else does now and then, severity medium.
CERTAIN = (
    Detector("secret.aws-key", "AWS key", Severity.HIGH, _pattern("A3T[A-Z0-9]|A[BCKS][ICS]A|(?i:aws)"), _aws_keys()),
    _from_library("azure-storage-key", "Azure storage key", _any_of("AccountKey="), AzureStorageKeyDetector()),
    _from_library("github-token", "GitHub token", _pattern("gh[pousr]_"), GitHubTokenDetector()),
    _from_pattern("github-token", "GitHub token", _any_of("github_pat_"), r"\bgithub_pat_[A-Za-z0-9_]{22,255}"),
    _from_library("gitlab-token", "GitLab token", _pattern(_GITLAB), GitLabTokenDetector()),
    _from_library("npm-token", "npm token", _any_of("_authToken="), NpmDetector()),
    _from_library("pypi-token", "PyPI token", _any_of("pypi-Ag"), PypiTokenDetector()),
    _from_library("slack-token", "Slack token", _pattern(r"(?i:xox|hooks\.slack)"), SlackDetector()),
    _from_library("stripe-key", "Stripe key", _any_of("k_live_"), StripeDetector()),
    _from_library("sendgrid-key", "SendGrid key", _any_of("SG."), SendGridDetector()),
    _from_library("square-token", "Square token", _any_of("sq0csp-"), SquareOAuthDetector()),
    _from_library("openai-key", "OpenAI key", _any_of("T3BlbkFJ"), OpenAIDetector()),
    _from_library("mailchimp-key", "Mailchimp key", _pattern("-us[0-9]"), MailchimpDetector()),
    _from_pattern("anthropic-key", "Anthropic key", _any_of("sk-ant-"), r"\bsk-ant-[A-Za-z0-9_-]{24,}"),
    _from_pattern("vault-token", "HashiCorp Vault token", _any_of("hvs."), r"\bhvs\.[A-Za-z0-9_-]{24,}"),
    _from_pattern("google-key", "Google API key", _any_of("AIza"), r"\bAIza[A-Za-z0-9_-]{35}\b", _MEDIUM),
    _from_library("telegram-token", "Telegram token", _pattern(r"\d{8}:"), TelegramBotTokenDetector(), _MEDIUM),
    _from_library("discord-token", "Discord token", _pattern(r"\.[\w-]{6}\."), DiscordBotTokenDetector(), _MEDIUM),
    _from_library("twilio-key", "Twilio key", _pattern("(?:AC|SK)[a-z0-9]{32}"), TwilioKeyDetector(), _MEDIUM),
    _from_library("jwt", "JSON web token", _any_of("eyJ"), JwtTokenDetector(), _MEDIUM),
)
_PASSWORD_HINT = r"(?i:pass|pwd|secret|contrase|(?:api|auth|service|account|db|database|priv|private|client)_?key)"
_XML_PASSWORD = r"(?i:<[\w.-]{0,40}(?:password|passwd|secret|api-?key)[\w.-]{0,40}>([^<>\s]{4,200})</)"

PASSWORD = _from_library("password", "password or key", _pattern(_PASSWORD_HINT), KeywordDetector(), _MEDIUM)
PASSWORDS = (
    _from_library("password-in-url", "password in a URL", _any_of("://"), BasicAuthDetector(), _MEDIUM),
    PASSWORD,
    _from_pattern("password", "password or key", _any_of("</"), _XML_PASSWORD, _MEDIUM),
)
_BASE64 = _pattern(r"""["'][A-Za-z0-9+/_=-]{23,}["']""")
_HEX = _pattern(r"""["'][0-9a-fA-F]{16,}["']""")
# Guesses. The lengths are the shortest that can reach the library's limits by more than chance.
ENTROPY = (
    _from_library("random-base64", "random-looking text", _BASE64, Base64HighEntropyString(), _LOW),
    _from_library("random-hex", "random-looking hexadecimal digits", _HEX, HexHighEntropyString(), _LOW),
)
