"""Answers of HTTPS servers, without a network."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.response import addinfourl

import pytest


def serve(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Path | bytes | str]) -> list[str]:
    """Let addresses of HTTPS answer with a file, with bytes, or (a text) by leading to another address.

    No other address of HTTPS can be reached. The list returned grows by "HEAD address" or "GET address" a request.
    """
    asked: list[str] = []

    def https_open(_: Any, request: urllib.request.Request) -> addinfourl:
        asked.append(f"{request.get_method()} {request.full_url}")
        answer = answers.get(request.full_url)
        if answer is None:
            raise urllib.error.URLError("nobody answers")
        headers = Message()
        if isinstance(answer, str):
            headers["Location"] = answer
        content = answer.read_bytes() if isinstance(answer, Path) else answer if isinstance(answer, bytes) else b""
        body = io.BytesIO(b"" if request.get_method() == "HEAD" else content)
        response = addinfourl(body, headers, request.full_url, 302 if isinstance(answer, str) else 200)
        response.msg = ""  # type: ignore[attr-defined]  # urllib's own answers have it
        return response

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", https_open)
    return asked
