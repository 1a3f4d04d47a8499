"""HTTP/2 by hand: frames that no library would send.

Header blocks are written without Huffman codes and without the dynamic table (RFC 7541, 6.2.2).
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from peermentor_server.settings import Address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 0x1, 0x4


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


def header(name: str, value: str) -> bytes:
    return b"\0" + _text(name) + _text(value)


def get(path: str) -> bytes:
    """Return the header block of a GET."""
    pseudo = {":method": "GET", ":scheme": "http", ":path": path, ":authority": "localhost"}
    return b"".join(header(name, value) for name, value in pseudo.items())


def _text(text: str) -> bytes:
    content = text.encode()
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
