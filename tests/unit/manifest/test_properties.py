"""What holds for every file, however odd: `ManifestInvalid` or a manifest that survives JSON, and nothing else."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.manifest import ManifestInvalid, from_json, lint, parse_manifest, to_json, tree
from tests.unit.manifest.test_parse import EVERYTHING, SITE

LOADERS = [pytest.param(getattr(yaml, "CSafeLoader", yaml.SafeLoader), id="libyaml"),
           pytest.param(yaml.SafeLoader, id="python")]  # fmt: skip

pieces = st.sampled_from(
    ["{", "}", "[", "]", ":", ": ", "- ", "\n", "  ", "\t", '"', "'", "&a", "*a", "!!int ", "? ", "|\n", ">\n", "#",
     "---\n", "...\n", "%YAML 1.2\n", "<<: ", "~", "null", "yes", "0x1F", "1e999", ".nan", "\u2028", "\u0085", "\ufeff",
     "é", "\0"]
)  # fmt: skip
words = st.sampled_from([word.strip(",{}[]") or "x" for word in (EVERYTHING + SITE).split()])


def survives(content: bytes) -> None:
    """Parse; a manifest that comes out equals what JSON makes of it."""
    try:
        manifest = parse_manifest(content)
    except ManifestInvalid as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
        return
    assert from_json(json.loads(json.dumps(to_json(manifest)))) == manifest
    lint(manifest)


@pytest.mark.parametrize("loader", LOADERS)
def test_noise(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)

    @settings(max_examples=50, deadline=None)
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
    def check(content: bytes) -> None:
        survives(content)

    check()


@pytest.mark.parametrize("loader", LOADERS)
def test_yaml_from_pieces(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.one_of(pieces, words), max_size=40).map("".join))
    def check(text: str) -> None:
        survives(text.encode())

    check()


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("base", [EVERYTHING, SITE], ids=["process", "files"])
def test_good_manifests_with_changes(base: str, loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)
    lines = base.splitlines()

    @settings(max_examples=50, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        changed = list(lines)
        for _ in range(data.draw(st.integers(1, 3))):
            where = data.draw(st.integers(0, len(changed) - 1))
            at = data.draw(st.integers(0, len(changed[where])))
            cut = data.draw(st.integers(0, 6))
            new = data.draw(st.one_of(pieces, words, st.text(max_size=3)))
            changed[where] = changed[where][:at] + new + changed[where][at + cut :]
        survives("\n".join(changed).encode("utf-8", "replace"))

    check()


json_values: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_json_with_changes(data: st.DataObject) -> None:
    value = to_json(parse_manifest(data.draw(st.sampled_from([EVERYTHING, SITE])).encode()))
    for _ in range(data.draw(st.integers(1, 3))):
        spot = value
        while True:
            key = data.draw(st.sampled_from([*spot, "other"]))
            if not isinstance(spot.get(key), dict) or data.draw(st.booleans()):
                break
            spot = spot[key]
        spot[key] = data.draw(json_values)
        if not spot:
            break
    try:
        manifest = from_json(value)
    except ManifestInvalid:
        return
    assert from_json(to_json(manifest)) == manifest


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "{" * 60_000,
        "- " * 30_000,
        "? " * 30_000,
        "a: " + "b" * 64_000,
        "'" + "\n" * 64_000,
        "k: |\n" + " x\n" * 20_000,
        "#" + "\n#" * 30_000,
        "".join(f"key{number}: {{}}\n" for number in range(4000)),
        "&a " * 20_000,
        "a: [" + "1," * 30_000 + "]",
        "name: " + "é" * 30_000,
    ],
    ids=lambda text: text[:6],
)
def test_no_file_of_the_allowed_size_takes_long(
    text: str, loader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)
    began = time.process_time()
    with pytest.raises(ManifestInvalid):
        parse_manifest(text.encode())
    assert time.process_time() - began < 15  # a second here; the bound holds on a machine much slower
