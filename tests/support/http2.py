"""HTTP/2 by hand: frames that no library would send.

Header blocks are written without Huffman codes and without the dynamic table (RFC 7541, 6.2.2).
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Self

from peermentor_server.settings import Address

Entries = Iterable[tuple[str, str | bytes]]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 0x1, 0x4
INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1


class Kind(IntEnum):
    """The kinds of frames (RFC 9113, 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: Kind, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: str, value: str | bytes) -> bytes:
    return b"\0" + _text(name) + _text(value)


def get(path: str) -> bytes:
    """Return the header block of a GET."""
    pseudo = {":method": "GET", ":scheme": "http", ":path": path, ":authority": "localhost"}
    return block(pseudo.items())


def block(entries: Entries) -> bytes:
    return b"".join(header(name, value) for name, value in entries)


def grpc_headers(method: str, *entries: tuple[str, str | bytes]) -> bytes:
    """Return the header block of a gRPC call; `entries` take the place of those of their names."""
    usual = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    changed = {name: value for name, value in entries if name in usual}
    others = [entry for entry in entries if entry[0] not in usual]
    return block([*(usual | changed).items(), *others])


def grpc_message(message: bytes = b"") -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


def _text(text: str | bytes) -> bytes:
    content = text if isinstance(text, bytes) else text.encode()
    if len(content) < 127:
        return bytes([len(content)]) + content
    length, digits = len(content) - 127, [127]
    while length >= 128:
        digits.append(length % 128 + 128)
        length //= 128
    return bytes([*digits, length]) + content


def streams() -> Iterator[int]:
    """Return the numbers that a client gives its streams."""
    return iter(range(1, 2**31, 2))


class Caller:
    """A connection of its own, whose streams end as this program says."""

    def __init__(self, address: str, *, reads: bool = True, window: int = 65535) -> None:
        """Connect; one that does not read has hardly room for what comes."""
        host, _, port = address.rpartition(":")
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        start = PREFACE + frame(Kind.SETTINGS, settings)
        if window > 65535:
            start += frame(Kind.WINDOW_UPDATE, struct.pack(">I", window - 65535))
        self.socket.sendall(start)
        self._streams = streams()

    def call(
        self, headers: bytes, data: bytes = b"", trailers: bytes = b"", *, ends: bool = True
    ) -> int:
        """Send a request; return the number of its stream."""
        stream = next(self._streams)
        request = frame(Kind.HEADERS, headers, stream=stream, flags=END_HEADERS)
        end = END_STREAM if ends and not trailers else 0
        request += frame(Kind.DATA, data, stream=stream, flags=end)
        if trailers:
            request += frame(Kind.HEADERS, trailers, stream=stream, flags=END_HEADERS | END_STREAM)
        self.socket.sendall(request)
        return stream

    def wait_for_end(self, stream: int) -> None:
        """Read until this stream has been answered or reset, or the connection closed."""
        with suppress(ConnectionError):
            while (found := self._read_frame()) is not None:
                kind, flags, of_stream = found
                ended = kind == Kind.RST_STREAM or (
                    kind in {Kind.DATA, Kind.HEADERS} and flags & END_STREAM
                )
                if of_stream == stream and ended:
                    return

    def _read_frame(self) -> tuple[int, int, int] | None:
        head = self._read(9)
        if len(head) < 9:
            return None
        self._read(int.from_bytes(head[:3]))
        return head[3], head[4], int.from_bytes(head[5:9])

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size and (piece := self.socket.recv(size - len(content))):
            content += piece
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def send_until_cut(address: Address, frames: Iterable[bytes]) -> int | None:
    """Send frames and read nothing; return after how many the other side ended the connection.

    None: it did not.
    """
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(PREFACE + frame(Kind.SETTINGS))
        for count, each in enumerate(frames):
            try:
                connection.sendall(each)
            except ConnectionError:
                return count
        return count if _is_ended(connection) else None


def _is_ended(connection: socket.socket) -> bool:
    """Read to the end, if there is one."""
    connection.settimeout(2)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
