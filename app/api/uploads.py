"""The request class: files of a multipart body go straight to the artifact store's disk, and go with their request."""

from __future__ import annotations

from typing import IO, Any

from flask import Request, g

from app.api.dependencies import dependencies


class StreamingRequest(Request):
    """Part of a body in memory at any time: 64 KiB of a file, or what is no file (bounded by Flask)."""

    max_form_parts = 20

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        stream = dependencies().artifacts.incoming()
        g.setdefault("uploads", []).append(stream)
        return stream


def discard_uploads(_error: BaseException | None = None) -> None:
    """After the request, however it ended: a temporary file that was not kept is gone."""
    uploads: list[Any] = g.pop("uploads", [])
    for upload in uploads:
        upload.close()
