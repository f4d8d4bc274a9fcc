"""Manifests with errors: each is named with its field, its line and a sentence that says what to write."""

from __future__ import annotations

import pytest

from agent.manifest import ManifestInvalid, Problem, from_json, parse_manifest

HEAD = "name: abc\nversion: 1.0.0\n"
PROCESS = HEAD + "kind: process\nrun:\n  command: [x]\n"
LISTENS = PROCESS + "  listen: 0.0.0.0:80\n"
FILES = HEAD + "kind: files\n"


def problems(text: str | bytes) -> list[Problem]:
    """What is found wrong."""
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(text if isinstance(text, bytes) else text.encode())
    return list(caught.value.problems)


WHOLE: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "is empty"),
    "only a comment": ("# nothing\n", 1, "is empty"),
    "a list": ("- a\n", 1, "not a list"),
    "a word": ("hello\n", 1, "not a text ('hello')"),
    "a null byte": (b"name: a\nx: \0\n", 2, "null byte"),
    "not UTF-8": (b"name: abc\nversion: \xff\n", 2, "UTF-8"),
    "UTF-16": ("name: abc".encode("utf-16"), 1, "null byte"),
    "too large": ("# " + "x" * 70_000, 0, "at most 65536"),
    "a control character": ("name: a\x07b\n", 1, "is not YAML"),
    "a tag": ("name: !!python/object/apply:os.system [id]\n", 1, "uses the tag"),
    "a tag of its own": (HEAD + "kind: !secret x\n", 3, "tags are not allowed"),
    "a plain tag": ("name: !!str abc\n", 1, "tags are not allowed"),
    "an anchor": ("name: &a abc\n", 1, "anchors are not allowed"),
    "an alias": ("a: *b\n", 1, "aliases are not allowed"),
    "aliases that explode": (
        "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n", 1, "anchors",
    ),
    "two documents": (FILES + "---\n" + FILES, 4, "second document"),
    "a mapping as a key": ("{a: b}: c\n", 1, "in the place of a key"),
    "a template": ("name: abc\nversion: {{version}}\n", 2, "needs quotes"),
    "deep": ("a: " + "[" * 5000, 1, "nested more than 20"),
    "deep mappings": ("".join(f"{' ' * depth}a:\n" for depth in range(60)), 21, "nested more than 20"),
    "a tab": ("run:\n\tcommand: [x]\n", 2, "indent with spaces, not with tabs"),
    "an open quote": ("name: 'abc\n", 1, "is not YAML"),
    "a range without quotes": ("requires:\n  user-directory: >=1.4\n", 2, "needs quotes"),
    "a range without quotes, inline": ("requires: {user-directory: >=1.4}\n", 1, "needs quotes"),
    "brackets without quotes": ("run:\n  listen: [::]:80\n", 2, "needs quotes"),
    "a colon": ("name: abc: def\n", 1, "quote values that contain ': '"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_refused_as_a_whole(name: str) -> None:
    text, line, reason = WHOLE[name]
    (problem,) = problems(text)
    assert (problem.path, problem.line) == ("", line)
    assert reason in problem.message


FIELDS: dict[str, tuple[str, int, str, str]] = {
    # text, line, path, part of the sentence
    "name with capitals": ("name: MyModule\nversion: 1.0.0\nkind: files\n", 1, "name", "a-z, 0-9 and '-'"),
    "name too short": ("name: ab\nversion: 1.0.0\nkind: files\n", 1, "name", "3 to 64"),
    "name too long": (f"name: {'a' * 65}\nversion: 1.0.0\nkind: files\n", 1, "name", "3 to 64"),
    "name that is a number": ("name: 123\nversion: 1.0.0\nkind: files\n", 1, "name", 'put it in quotes: "123"'),
    "name that is a boolean": ("name: yes\nversion: 1.0.0\nkind: files\n", 1, "name", "a boolean ('yes')"),
    "no name": ("version: 1.0.0\nkind: files\n", 1, "name", "is missing; write for example 'name:"),
    "name twice": ("name: abc\nname: abd\nversion: 1.0.0\nkind: files\n", 2, "name", "stands twice (first in line 1)"),
    "version 1.0": ("name: abc\nversion: 1.0\nkind: files\n", 2, "version", 'three numbers, in quotes: "1.0.0"'),
    "version 1": ("name: abc\nversion: 1\nkind: files\n", 2, "version", 'in quotes: "1.0.0"'),
    "version in quotes": ('name: abc\nversion: "1.0"\nkind: files\n', 2, "version", "semantic versioning wants three"),
    "version with v": ("name: abc\nversion: v1.0.0\nkind: files\n", 2, "version", "write '1.0.0'"),
    "version with zeros": ("name: abc\nversion: 1.02.0\nkind: files\n", 2, "version", "semver.org"),
    "version in other digits": ("name: abc\nversion: \u0661.0.0\nkind: files\n", 2, "version", "semver.org"),
    "version a date": ("name: abc\nversion: 2026-01-02\nkind: files\n", 2, "version", "a date"),
    "version a list": ("name: abc\nversion: [1, 0, 0]\nkind: files\n", 2, "version", "not a list"),
    "version empty": ("name: abc\nversion:\nkind: files\n", 2, "version", "is empty"),
    "version too long": (f"name: abc\nversion: 1.0.0-{'a' * 200}\nkind: files\n", 2, "version", "at most 128"),
    "no version": ("name: abc\nkind: files\n", 1, "version", "is missing"),
    "no kind": (HEAD, 1, "kind", "is missing"),
    "other kind": (HEAD + "kind: proces\n", 3, "kind", "one of process, files, not 'proces'"),
    "unknown key": (FILES + "colour: red\n", 4, "colour", "known are kind, name"),
    "nearly a key": (FILES + "requres: {}\n", 4, "requres", "did you mean 'requires'?"),
    "other case": (LISTENS + "health: {path: /h, start_timeout: 3}\n", 7, "health.start_timeout", "'startTimeout'?"),
    "unknown key in run": (PROCESS + "  comand: [y]\n", 6, "run.comand", "did you mean 'command'?"),
    "unknown key in a hook": (FILES + "hooks: {afterInstall: {command: [x], runas: root}}\n", 4,
                              "hooks.afterInstall.runas", "known are command, timeout"),
    "unknown hook": (FILES + "hooks:\n  preInstall: {command: [x]}\n", 5, "hooks.preInstall", "'beforeInstall'?"),
    "an odd key": (FILES + '"a\\nb": 1\n', 4, "'a\\nb'", "is not known"),
    "process without run": (HEAD + "kind: process\n", 1, "run", "is missing; a process needs"),
    "run without command": (HEAD + "kind: process\nrun: {user: www}\n", 4, "run.command", "is missing"),
    "run a text": (HEAD + "kind: process\nrun: python3 x.py\n", 4, "run", "must be a mapping"),
    "command a text": (HEAD + 'kind: process\nrun: {command: "python3 my server.py"}\n', 4, "run.command",
                       'like ["python3", "my", "server.py"]'),
    "command empty": (HEAD + "kind: process\nrun: {command: []}\n", 4, "run.command", "empty list"),
    "command a mapping": (HEAD + "kind: process\nrun: {command: {a: b}}\n", 4, "run.command", "not a mapping"),
    "command with a number": (HEAD + "kind: process\nrun: {command: [sleep, 30]}\n", 4, "run.command[1]", '"30"'),
    "command with a list": (HEAD + "kind: process\nrun: {command: [sh, [x]]}\n", 4, "run.command[1]", "not a list"),
    "command with no program": (HEAD + 'kind: process\nrun: {command: [""]}\n', 4, "run.command[0]", "not be empty"),
    "command with null": (HEAD + 'kind: process\nrun: {command: [x, "a\\0b"]}\n', 4, "run.command[1]", "null char"),
    "command too long": (HEAD + f"kind: process\nrun: {{command: [{'x,' * 300}]}}\n", 4, "run.command", "at most 256"),
    "listen a port": (PROCESS + "  listen: 8080\n", 6, "run.listen", "like '0.0.0.0:8080'"),
    "listen without a host": (PROCESS + '  listen: ":8080"\n', 6, "run.listen", "like '0.0.0.0:8080'"),
    "listen on a name": (PROCESS + "  listen: localhost:80\n", 6, "run.listen", "IP address"),
    "listen on a wide port": (PROCESS + "  listen: 0.0.0.0:65536\n", 6, "run.listen", "no port"),
    "listen on no port": (PROCESS + '  listen: "0.0.0.0:"\n', 6, "run.listen", "no port"),
    "listen IPv6 bare": (PROCESS + "  listen: ::1:80\n", 6, "run.listen", "[::1]:80"),
    "listen IPv4 in brackets": (PROCESS + '  listen: "[127.0.0.1]:80"\n', 6, "run.listen", "127.0.0.1:80"),
    "listen with an interface": (PROCESS + '  listen: "[fe80::1%eth0]:80"\n', 6, "run.listen", "interface"),
    "listen a list": (PROCESS + "  listen: [a, b]\n", 6, "run.listen", "several by name, not a list"),
    "listen empty": (PROCESS + "  listen: {}\n", 6, "run.listen", "0 addresses"),
    "listen twice the same": (PROCESS + '  listen: {a: "0.0.0.0:80", b: "0.0.0.0:80"}\n', 6, "run.listen.b", "as 'a'"),
    "listener's name": (PROCESS + '  listen: {"a:b": "0.0.0.0:80"}\n', 6, "run.listen.a:b", "no name for an address"),
    "handover other": (LISTENS + "  handover: fork\n", 7, "run.handover", "socket, port, none"),
    "handover without listen": (PROCESS + "  handover: port\n", 6, "run.handover", "add listen"),
    "none with two": (PROCESS + '  listen: {a: "0.0.0.0:1", b: "0.0.0.0:2"}\n  handover: none\n', 7, "run.handover",
                      "none passes a single PORT"),
    "variable PORT of none": (LISTENS + "  handover: none\n  environment: {PORT: 2}\n", 8, "run.environment.PORT",
                              "agent"),
    "port with two": (PROCESS + '  listen: {a: "0.0.0.0:1", b: "0.0.0.0:2"}\n  handover: port\n', 7, "run.handover",
                      "a single PORT"),
    "variable's name": (PROCESS + "  environment: {A-B: x}\n", 6, "run.environment.A-B", "no name for a variable"),
    "variable of ours": (PROCESS + "  environment: {HOTSWAP_NODE: x}\n", 6, "run.environment.HOTSWAP_NODE", "agent"),
    "variable of systemd": (PROCESS + "  environment: {LISTEN_FDS: 2}\n", 6, "run.environment.LISTEN_FDS", "agent"),
    "variable PORT": (LISTENS + "  handover: port\n  environment: {PORT: 2}\n", 8, "run.environment.PORT", "agent"),
    "variable null": (PROCESS + "  environment: {A: null}\n", 6, "run.environment.A", 'write ""'),
    "variable a list": (PROCESS + "  environment: {A: [x]}\n", 6, "run.environment.A", "not a list"),
    "variable twice": (PROCESS + "  environment: {A: 1, A: 2}\n", 6, "run.environment.A", "stands twice"),
    "environment a list": (PROCESS + '  environment: ["A=1"]\n', 6, "run.environment", "NAME: value"),
    "user": (PROCESS + "  user: Root User\n", 6, "run.user", "name of a user"),
    "health of nothing": (PROCESS + "health: {timeout: 1}\n", 6, "health", "needs one of path"),
    "health of two": (LISTENS + "health: {path: /h, command: [x]}\n", 7, "health.command", "stand beside 'path'"),
    "health path": (LISTENS + "health: {path: healthz}\n", 7, "health.path", "a '/'"),
    "health path with spaces": (LISTENS + 'health: {path: "/a b"}\n', 7, "health.path", "without spaces"),
    "health path with line break": (LISTENS + 'health: {path: "/a\\r\\nX: y"}\n', 7, "health.path", "without spaces"),
    "health path without listen": (PROCESS + "health: {path: /h}\n", 6, "health", "names no address"),
    "health timeout": (LISTENS + "health: {path: /h, timeout: 0}\n", 7, "health.timeout", "from 0.05 to 300"),
    "health successes": (LISTENS + "health: {path: /h, successes: 1.5}\n", 7, "health.successes", "whole number"),
    "health successes of none": (LISTENS + "health: {path: /h, successes: 0}\n", 7, "health.successes", "from 1"),
    "never healthy": (LISTENS + "health: {path: /h, successes: 10, interval: 5, startTimeout: 45}\n", 7,
                      "health.startTimeout", "never gets healthy"),
    "never alive": (PROCESS + "health: {aliveFor: 20, startTimeout: 20}\n", 6, "health.startTimeout", "never gets"),
    "drain too long": (PROCESS + "drain: {timeout: 2h}\n", 6, "drain.timeout", "from 0 to 3600 seconds"),
    "drain negative": (PROCESS + "drain: {timeout: -1}\n", 6, "drain.timeout", "must be a duration"),
    "drain a boolean": (PROCESS + "drain: {timeout: yes}\n", 6, "drain.timeout", "not a boolean"),
    "drain a word": (PROCESS + "drain: {timeout: 5 minutes}\n", 6, "drain.timeout", "not '5 minutes'"),
    "drain infinite": (PROCESS + "drain: {timeout: .inf}\n", 6, "drain.timeout", "must be a duration"),
    "drain with exponent": (PROCESS + "drain: {timeout: 1e9}\n", 6, "drain.timeout", "must be a duration"),
    "metrics without listen": (PROCESS + "metrics: {path: /m}\n", 6, "metrics", "names no address"),
    "metrics without path": (LISTENS + "metrics: {}\n", 7, "metrics.path", "is missing"),
    "validate without listen": (PROCESS + "validate: [{path: /}]\n", 6, "validate", "names no address"),
    "validate a mapping": (LISTENS + "validate: {path: /}\n", 7, "validate", "a list of checks"),
    "validate status": (LISTENS + "validate: [{path: /}, {path: /, status: 9}]\n", 7, "validate[1].status", "100 to"),
    "validate latency": (LISTENS + "validate: [{path: /, maxLatencyMs: x}]\n", 7, "validate[0].maxLatencyMs", "number"),
    "validate too many": (LISTENS + f"validate: [{'{path: /},' * 51}]\n", 7, "validate", "at most 50"),
    "hooks of a process": (PROCESS + "hooks: {afterInstall: {command: [x]}}\n", 6, "hooks", "are for kind: files"),
    "files of a process": (PROCESS + "files: {destination: /srv/x}\n", 6, "files", "is for kind: files"),
    "run of files": (FILES + "run: {command: [x]}\n", 4, "run", "is for kind: process"),
    "health of files": (FILES + "health: {aliveFor: 3}\n", 4, "health", "use hooks.validateService"),
    "drain of files": (FILES + "drain: {timeout: 3}\n", 4, "drain", "is for kind: process"),
    "metrics of files": (FILES + "metrics: {path: /m}\n", 4, "metrics", "is for kind: process"),
    "validate of files": (FILES + "validate: [{path: /}]\n", 4, "validate", "use hooks.validateService"),
    "hook a list": (FILES + "hooks: {afterInstall: [x]}\n", 4, "hooks.afterInstall", "must be a mapping like"),
    "hook timeout": (FILES + "hooks: {afterInstall: {command: [x], timeout: 2d}}\n", 4, "hooks.afterInstall.timeout",
                     "from 1 to 86400"),
    "destination relative": (FILES + "files: {destination: srv/x}\n", 4, "files.destination", "absolute path"),
    "destination with ..": (FILES + "files: {destination: /srv/../etc}\n", 4, "files.destination", "without '..'"),
    "destination of the system": (FILES + "files: {destination: //etc/}\n", 4, "files.destination", "of the system"),
    "destination of the kernel": (FILES + "files: {destination: /proc/1}\n", 4, "files.destination", "of the system"),
    "owner": (FILES + "files: {owner: 'a b'}\n", 4, "files.owner", "user:group"),
    "mode setuid": (FILES + 'files: {mode: "4755"}\n', 4, "files.mode", "without setuid"),
    "mode with a 9": (FILES + "files: {mode: 0799}\n", 4, "files.mode", "octal"),
    "mode a list": (FILES + "files: {mode: [7]}\n", 4, "files.mode", "octal"),
    "shared outside": (FILES + "shared: [../x]\n", 4, "shared[0]", "within the module"),
    "shared absolute": (FILES + "shared: [/var/x]\n", 4, "shared[0]", "within the module"),
    "shared root": (FILES + "shared: [.]\n", 4, "shared[0]", "within the module"),
    "shared twice": (FILES + "shared: [a, ./a]\n", 4, "shared[1]", "which is, holds or is within 'a'"),
    "shared within": (FILES + "shared: [a/b, a]\n", 4, "shared[1]", "holds"),
    "shared a text": (FILES + "shared: uploads\n", 4, "shared", "a list of folders"),
    "requires itself": (FILES + 'requires: {abc: "*"}\n', 4, "requires", "names abc itself"),
    "requires a bad name": (FILES + 'requires: {A: "1"}\n', 4, "requires.A", "no name of a module"),
    "requires a bad range": (FILES + 'requires: {user-dir: "about 2"}\n', 4, "requires.user-dir", "like '>=1.4, <3'"),
    "requires a number": (FILES + "requires: {user-dir: 1.4}\n", 4, "requires.user-dir", '"1.4"'),
    "requires nothing": (FILES + 'requires: {user-dir: " "}\n', 4, "requires.user-dir", "range is empty"),
    "requires too much": (FILES + f'requires: {{user-dir: "{">1 " * 20}"}}\n', 4, "requires.user-dir", "at most 16"),
    "requires very much": (FILES + f'requires: {{user-dir: "{">1 " * 100}"}}\n', 4, "requires.user-dir", "at most 256"),
    "requires a list": (FILES + "requires: [user-dir]\n", 4, "requires", "a mapping of modules to versions"),
    "memory": (FILES + "resources: {memoryMB: lots}\n", 4, "resources.memoryMB", "size like '512MiB'"),
    "memory of none": (FILES + "resources: {memoryMB: 0}\n", 4, "resources.memoryMB", "from 1"),
    "cores": (FILES + "resources: {cpuCores: 0}\n", 4, "resources.cpuCores", "from 0.01"),
    "labels": (FILES + "placement: {'': x}\n", 4, "placement.", "no name for a label"),
    "labels a list": (FILES + "placement: [web]\n", 4, "placement", "a mapping of labels"),
    "many labels": (FILES + f"placement: {{{''.join(f'l{n}: x,' for n in range(65))}}}\n", 4, "placement", "most 64"),
    "build output": (FILES + "build: {command: [make], output: ../x}\n", 4, "build.output", "within the module"),
    "build without output": (FILES + "build: {command: [make]}\n", 4, "build.output", "is missing"),
    "test without command": (FILES + "test: {timeout: 5}\n", 4, "test.command", "is missing"),
    "long text": (FILES + f"files: {{owner: {'x' * 9000}}}\n", 4, "files.owner", "at most 8192"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_refused(name: str) -> None:
    text, line, path, reason = FIELDS[name]
    found = problems(text)
    assert [(problem.line, problem.path) for problem in found] == [(line, path)], found
    assert reason in found[0].message
    assert "\n" not in str(found[0])


def test_every_error_is_named_at_once_in_the_order_of_lines() -> None:
    found = problems(
        "name: Bad\n"
        "version: 1.10\n"
        "kind: process\n"
        "run:\n"
        "  comand: [x]\n"
        "  listen: :8080\n"
        "health: {path: healthz, successes: two}\n"
        "drain: {timeout: forever}\n"
        "metrcs: {path: /}\n"
    )
    assert [(problem.line, problem.path) for problem in found] == [
        (1, "name"),
        (2, "version"),
        (5, "run.comand"),
        (5, "run.command"),
        (6, "run.listen"),
        (7, "health.path"),
        (7, "health.successes"),
        (8, "drain.timeout"),
        (9, "metrcs"),
    ]


def test_the_text_names_file_line_and_field() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(b"name: abc\nversion: 1.0\nkind: file\n")
    text = str(caught.value)
    assert text.startswith("hotswap.yaml: line 2: version: is the number 1.0 to YAML")
    assert "; line 3: kind: must be one of" in text
    assert list(caught.value.by_field()) == ["version", "kind"]
    assert caught.value.by_field()["kind"][0].startswith("line 3: must be one of")


def test_a_hostile_file_makes_no_endless_answer() -> None:
    found = problems(FILES + "".join(f"k{number}: 1\n" for number in range(3000)))
    assert len(found) == 50


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": "abc", "version": "1.0", "kind": "files"}, "version"),
        ({"name": "abc", "version": 1.0, "kind": "files"}, "version"),
        ({"name": "abc", "version": "1.0.0", "kind": "files", "shared": {1: 2}}, "place of a key"),
        ({"name": "abc", "version": "1.0.0", "kind": "files", "shared": {1, 2}}, "no JSON"),
        ({}, "name: is missing"),
        ({"name": "abc", "version": "1.0.0", "kind": "files", "files": {"owner": "\ud800"}}, "owner: contains half of"),
    ],
)
def test_json_is_checked_as_well(value: dict[str, object], reason: str) -> None:
    with pytest.raises(ManifestInvalid, match=reason):
        from_json(value)


def test_json_that_is_nested_without_end() -> None:
    value: dict[str, object] = {}
    value["a"] = value
    with pytest.raises(ManifestInvalid, match="nested"):
        from_json(value)


def test_half_open_quotes_in_a_command_make_a_suggestion_all_the_same() -> None:
    (problem,) = problems(HEAD + "kind: process\nrun: {command: \"echo 'a b\"}\n")
    assert """like ["echo", "'a", "b"]""" in problem.message


@pytest.mark.parametrize("name", ["x" * 600, "a\\u0007b"], ids=["long", "unprintable"])
@pytest.mark.parametrize("field", ["shared: [NAME]", "files: {destination: NAME}"])
def test_folders_of_any_length_or_sort_are_refused(field: str, name: str) -> None:
    start = "/srv/" if "files" in field else ""
    (problem,) = problems(FILES + field.replace("NAME", f'"{start}{name}"') + "\n")
    assert "at most 512 printable characters" in problem.message


@pytest.mark.parametrize("program", ["x" * 10_000, '"a\\0b"'])
def test_a_bad_program_has_one_message(program: str) -> None:
    text = f"name: web-app\nversion: 1.0.0\nkind: process\nrun: {{command: [{program}, two]}}\n"
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(text.encode())
    (messages,) = caught.value.by_field().values()
    assert len(messages) == 1 and "must not be empty" not in messages[0]
