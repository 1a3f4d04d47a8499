"""The arguments of a client and of its calls, checked at once. No message repeats a secret."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Pem = str | Path | bytes | None
Token = str | Callable[[], str] | None
AsyncToken = Token | Callable[[], Awaitable[str]]
TokenT = TypeVar("TokenT", bound=AsyncToken)
Headers = tuple[tuple[str, str], ...]
DEFAULT_ADDRESS = "127.0.0.1:50051"
_FOUR, _SIX = r"(?P<four>[0-9.]+)", r"\[(?P<six>[0-9a-fA-F]*:[0-9a-fA-F:.]*(%\w+)?)\]"
_ADDRESS = re.compile(rf"({_FOUR}|{_SIX}|(?P<name>[\w.-]+)):(?P<port>\d{{1,5}})", re.ASCII)
_SERVER_NAME = re.compile(r"[\w.:-]+", re.ASCII)
# What begins with `grpc-` is gRPC's own, and what ends with `-bin` is no text.
_KEY, _VALUE = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)"), re.compile(r"([!-~]([ -~]*[!-~])?)?")


class Place(NamedTuple):
    """Where the server is: for people and for gRPC, and whether a proxy may lead there."""

    address: str
    target: str
    proxied: bool


def expect(name: str, given: object, kind: Any, wanted: str) -> None:
    """Raise a TypeError when this is not of its kind; a bool is no number."""
    if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
        raise TypeError(f"{name}: {wanted} is needed, not {type(given).__name__}")


def place(given: str | Sequence[str] | None) -> Place:
    """Return where the server is, by one address or several."""
    if given is None:
        given = os.environ.get("PEERMENTOR_ADDRESS") or DEFAULT_ADDRESS
    several: Any = given.split(",") if isinstance(given, str) else given
    sequence = isinstance(several, Sequence) and not isinstance(several, bytes)
    if not sequence or not all(isinstance(each, str) for each in several):
        wanted = "a str such as '127.0.0.1:50051' is needed, or a sequence of them"
        raise TypeError(f"address: {wanted}, not {given!r}")
    addresses = [each.strip() for each in several] or [""]
    hosts = [_host(each) for each in addresses]
    if len(addresses) == 1:
        own = hosts[0] == "localhost" or getattr(hosts[0], "is_loopback", False)
        return Place(addresses[0], addresses[0], not own)
    kinds = {getattr(host, "version", 0) for host in hosts}
    if kinds not in ({4}, {6}):
        raise ValueError(
            "several addresses must be IP addresses of one kind, such as 10.0.0.1:50051; "
            "or give one name that stands for several servers"
        )
    return Place(", ".join(addresses), f"ipv{kinds.pop()}:{','.join(addresses)}", proxied=False)


def _host(address: str) -> Any:
    found = _ADDRESS.fullmatch(address)
    try:
        if found and 0 < int(found["port"]) < 65536:
            return found["name"] or ip_address(found["four"] or found["six"])
    except ValueError:
        pass  # it looks like an IP address, and is none
    raise ValueError(f"{address!r} is not an address such as 127.0.0.1:50051")


def certificates(
    ca: Pem, key: Pem, certificate: Pem, name: str | None, *, tls: bool
) -> list[bytes | None] | None:
    """Return the bytes of each certificate that is given; None without TLS."""
    expect("tls", tls, bool, "a bool")
    names = {"ca_certificate": ca, "client_key": key, "client_certificate": certificate}
    for each, given in names.items():
        expect(each, given, str | os.PathLike | bytes | None, "a path or bytes")
    expect("server_name", name, str | None, "a str")
    if name is not None and not _SERVER_NAME.fullmatch(name):
        raise ValueError(f"server_name: {name!r} is not a host name")
    if not tls and any(each is not None for each in (*names.values(), name)):
        raise ValueError("certificates and server_name are for TLS: give tls=True with them")
    # gRPC ends the whole process when it has one without the other.
    if (certificate is None) != (key is None):
        raise ValueError("client_certificate and client_key are given together or not at all")
    pems = [None if given is None else _pem(each, given) for each, given in names.items()]
    return pems if tls else None


def _pem(name: str, given: str | Path | bytes) -> bytes:
    content = given if isinstance(given, bytes) else Path(given).read_bytes()
    if b"-----BEGIN " not in content:
        raise ValueError(f"{name} is not PEM: it has no line -----BEGIN ...")
    return content


def token(given: TokenT, metadata: Mapping[str, str] | None) -> TokenT | Token:
    """Return the token that is given; else that of the environment, unless metadata has one."""
    names = metadata if isinstance(metadata, Mapping) else ()
    has_own = any(str(name).lower() == "authorization" for name in names)
    if given is not None or has_own:
        return given
    if text := os.environ.get("PEERMENTOR_TOKEN"):
        return text.strip()
    if file := os.environ.get("PEERMENTOR_TOKEN_FILE"):
        # Whoever renews the token replaces the file.
        read = _reading(Path(file))
        read()
        return read
    return None


def _reading(file: Path) -> Callable[[], str]:
    return lambda: file.read_text("ascii").strip()


def headers(token: AsyncToken, metadata: Mapping[str, str] | None, others: Headers = ()) -> Headers:
    """Return the metadata, over others; its names are in lower case."""
    expect("metadata", metadata, Mapping | None, "a mapping of names to texts")
    found = dict(others)
    for key, value in (metadata or {}).items():
        found.update([_header(f"metadata {key!r}", key, value)])
    if token is not None and "authorization" in found:
        raise ValueError("give token or the metadata 'authorization', not both")
    if token is not None and not callable(token):
        bearer(token)
    return tuple(found.items())


def bearer(token: Any) -> Headers:
    """Return the header of a token."""
    return (_header("token", "authorization", token, "Bearer "),)


def _header(what: str, key: Any, value: Any, scheme: str = "") -> tuple[str, str]:
    expect(what, key, str, "a str as its name")
    expect(what, value, str, "a str")
    if not _KEY.fullmatch(key.lower()) or not _VALUE.fullmatch(scheme + value):
        raise ValueError(
            f"{what}: only printable ASCII can be sent, without blanks at either end; names that "
            "begin with grpc- or end with -bin are reserved"
        )
    return key.lower(), scheme + value


def seconds(timeout: float) -> float:
    """Return the timeout, or raise an error: every call has a deadline."""
    expect("timeout", timeout, int | float, "a number of seconds")
    # Beyond that, clocks lose count.
    if not 0 < timeout < 1e9:
        raise ValueError(f"timeout must be a positive number of seconds below 1e9, not {timeout}")
    return timeout


def count(retries: int | None) -> int | None:
    """Return how often a call is repeated; None when its deadline ends that."""
    expect("retries", retries, int | None, "an int")
    if retries is not None and retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    return retries
