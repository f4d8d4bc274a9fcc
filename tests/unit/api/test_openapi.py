"""The document in docs/ is the one that is served."""

from __future__ import annotations

from pathlib import Path

from app.api import openapi

WRITTEN = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_written_document_is_up_to_date() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    assert openapi.main([str(tmp_path / "document.json")]) == 0
    assert (tmp_path / "document.json").read_text(encoding="utf-8") == openapi.text()
    assert openapi.main([]) == 2
