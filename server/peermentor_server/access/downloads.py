"""Getting a small document over HTTP, in bounds: of size here, of time by the caller's timeout.

The answer is gathered by the event loop, so that a server that never comes to an end holds no
thread; http.client then makes sense of it.
"""

import asyncio
import functools
import io
import ssl
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

# Beside the document: the lines before it, and those around its chunks.
_MAX_OVERHEAD_BYTES = 64 * 1024


class NoAnswer(Exception):
    """The server answers with something else than the document."""


async def get(url: str, max_bytes: int) -> bytes:
    """Return what is at an address; raise NoAnswer or OSError.

    No redirect is followed, for nobody knows where it leads. With https, the server needs a
    certificate that the system trusts.
    """
    parts = urlsplit(url)
    is_https = parts.scheme == "https"
    port = parts.port or (443 if is_https else 80)
    tls = _tls() if is_https else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
    try:
        writer.write(_request(parts.netloc, parts.path or "/", parts.query))
        answer = await _read(reader, max_bytes + _MAX_OVERHEAD_BYTES)
    finally:
        writer.close()
    return _document(answer, max_bytes)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(host: str, path: str, query: str) -> bytes:
    target = f"{path}?{query}" if query else path
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/jwk-set+json, application/json",
        "Accept-Encoding: identity",
        "User-Agent: peermentor-server",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _read(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    gathered = bytearray()
    while part := await reader.read(max_bytes):
        gathered += part
        if len(gathered) > max_bytes:
            raise NoAnswer("the answer is too long")
    return bytes(gathered)


def _document(answer: bytes, max_bytes: int) -> bytes:
    received: Any = _Received(answer)
    response = HTTPResponse(received)
    try:
        response.begin()
        document = response.read()
    except HTTPException as error:
        raise NoAnswer(f"the answer is not HTTP: {type(error).__name__}") from None
    if response.status != 200:
        raise NoAnswer(f"the server answers {response.status}")
    if len(document) > max_bytes:
        raise NoAnswer("the answer is too long")
    return document


class _Received:
    """Stands for the socket from which http.client reads."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_arguments: Any) -> io.BytesIO:
        return io.BytesIO(self._answer)
