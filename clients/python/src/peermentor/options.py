"""The arguments of a client, checked when it is made. No message repeats a secret."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

Pem = str | Path | bytes | None
Token = str | Callable[[], str] | None
Headers = tuple[tuple[str, str], ...]
_FOUR, _SIX = r"(?P<four>[0-9.]+)", r"\[(?P<six>[0-9a-fA-F]*:[0-9a-fA-F:.]*(%\w+)?)\]"
_ADDRESS = re.compile(rf"({_FOUR}|{_SIX}|(?P<name>[\w.-]+)):(?P<port>\d{{1,5}})", re.ASCII)
_KEY, _VALUE = re.compile(r"[0-9a-z_.-]+"), re.compile(r"([!-~]([ -~]*[!-~])?)?")


def places(given: str | Sequence[str]) -> tuple[str, str, bool]:
    """Return the addresses for people and for gRPC, and whether a proxy may lead to them."""
    several: Any = given.split(",") if isinstance(given, str) else given
    if isinstance(several, bytes) or not all(isinstance(each, str) for each in several):
        raise TypeError("address: a str such as '127.0.0.1:50051' is needed, or several of them")
    addresses = [each.strip() for each in several] or [""]
    hosts = [_host(each) for each in addresses]
    if len(addresses) == 1:
        own = hosts[0] == "localhost" or getattr(hosts[0], "is_loopback", False)
        return addresses[0], addresses[0], not own
    kinds = {getattr(host, "version", 0) for host in hosts}
    if kinds not in ({4}, {6}):
        raise ValueError(
            "several addresses must be IP addresses of one kind, such as 10.0.0.1:50051; "
            "one name that stands for several servers does as well"
        )
    return ", ".join(addresses), f"ipv{kinds.pop()}:{','.join(addresses)}", False


def _host(address: str) -> Any:
    found = _ADDRESS.fullmatch(address)
    try:
        if found and 0 < int(found["port"]) < 65536:
            return found["name"] or ip_address(found["four"] or found["six"])
    except ValueError:
        pass  # it looks like an IP address, and is none
    raise ValueError(f"{address!r} is no address such as 127.0.0.1:50051")


def certificates(ca: Pem, key: Pem, certificate: Pem) -> list[bytes | None]:
    """Return the bytes of each one that is given."""
    # gRPC ends the whole process when it has one without the other.
    if (certificate is None) != (key is None):
        raise ValueError("client_certificate and client_key are given together or not at all")
    names = {"ca_certificate": ca, "client_key": key, "client_certificate": certificate}
    return [None if given is None else _pem(name, given) for name, given in names.items()]


def _pem(name: str, given: str | Path | bytes) -> bytes:
    content = given if isinstance(given, bytes) else Path(given).read_bytes()
    if b"-----BEGIN " not in content:
        raise ValueError(f"{name} is empty or no PEM, which has a line -----BEGIN ...")
    return content


def headers(token: Token, metadata: Mapping[str, str]) -> Headers:
    """Return the metadata; its names are in lower case."""
    found = tuple(_header(f"metadata {key!r}", key, metadata[key]) for key in metadata)
    if token is not None and "authorization" in dict(found):
        raise ValueError("give token or the metadata 'authorization', not both")
    if inspect.iscoroutinefunction(token):
        raise TypeError("token: a plain function is needed, not a coroutine function")
    if not callable(token):
        bearer(token)
    return found


def bearer(token: Token) -> Headers:
    """Return the header of a token, if there is one."""
    if token is None:
        return ()
    given = token() if callable(token) else token
    return (_header("token", "authorization", given, "Bearer "),)


def _header(what: str, key: object, value: object, scheme: str = "") -> tuple[str, str]:
    if not isinstance(key, str) or not isinstance(value, str):
        raise TypeError(f"{what}: a str is needed, not {type(value).__name__}")
    if not _KEY.fullmatch(key.lower()) or not _VALUE.fullmatch(scheme + value):
        raise ValueError(f"{what}: only printable ASCII can be sent, and no blanks around it")
    return key.lower(), scheme + value


def seconds(timeout: float) -> float:
    """Return the timeout, or raise an error: every call has a deadline."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout: a number of seconds is needed, not {type(timeout).__name__}")
    # Beyond that, clocks lose count.
    if not 0 < timeout < 1e9:
        raise ValueError(f"timeout must be a positive number of seconds below 1e9, not {timeout}")
    return timeout


def count(retries: int) -> int:
    """Return how often a call is repeated."""
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries: an int is needed, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    return retries
