"""The URL of a database as people write it: what it says, what is wrong with it, how it is shown.

    sqlite:///FILE
    postgresql://USER:PASSWORD@HOST/NAME    in every form that libpq takes

The forms of the latter are those of "Connection URIs" in PostgreSQL's manual. Of several hosts
each may also be a parameter of its own, such as `?host=db1:5432&host=db2:5432`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

_SQLITE = "sqlite:///"
_POSTGRESQL = re.compile(r"(?:postgresql|postgres|postgresql\+psycopg)://")
# libpq looks for the @ behind a password as far as the next slash.
_PASSWORD = re.compile(r"^([a-z+]+://[^:@/]*):[^@/]*@")
# A host with a port or in brackets. An address of IPv6 has no port without them, nor has a
# directory of sockets.
_HOST = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::(?P<ipv6_port>.*))?|(?P<name>[^:/@]+):(?P<port>[^:]*)")
_SECRETS = {
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
}
# libpq reads these only once it connects.
_NUMBERS = {
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
}
# What other drivers and programs want to be told behind a pooler.
_FOR_POOLERS = {
    "prepare_threshold",
    "statement_cache_size",
    "prepared_statement_cache_size",
    "pgbouncer",
}
_MALFORMED = (
    "is not a database URL, such as postgresql://USER:PASSWORD@HOST/NAME; "
    "in a password, @ is written %40, / is %2F and % is %25"
)


class InvalidUrl(ValueError):
    """What is wrong with a URL, without anything of it that may be a secret."""


def check(url: str) -> None:
    """Raise InvalidUrl for what is no URL of a database."""
    if is_sqlite(url):
        sqlite_file(url)
    else:
        postgresql_parameters(url)


def is_sqlite(url: str) -> bool:
    """Tell whether it is one of SQLite's."""
    return url.startswith("sqlite:")


def sqlite_file(url: str) -> str:
    """Return the whole path of the file: whoever reads it in a message may be somewhere else."""
    if not url.startswith(_SQLITE) or "?" in url:
        raise InvalidUrl("must be sqlite:///FILE, without a host or options")
    file = url.removeprefix(_SQLITE)
    if not file or ":memory:" in file:
        raise InvalidUrl("must name a file, such as sqlite:///peermentor.db")
    try:
        return str(Path(file).absolute())
    except FileNotFoundError:
        raise InvalidUrl(
            f"{file} is in the working directory, which is gone; name its whole path"
        ) from None


def postgresql_parameters(url: str) -> dict[str, str]:
    """Return what the URL says, by the names of libpq's parameters."""
    if not _POSTGRESQL.match(url):
        raise InvalidUrl("must begin with sqlite:/// or postgresql://")
    # Imported here, for those who have such a database.
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    _refuse_unknown_parameters(url)
    try:
        parameters = conninfo_to_dict(_as_libpq_has_it(url))
    except (Error, ValueError):
        # libpq's text shows what it does not understand, which may be the password.
        raise InvalidUrl(_MALFORMED) from None
    found = {name: str(value) for name, value in parameters.items()}
    _refuse_values(found)
    return found


def shown(url: str) -> str:
    """Return the URL without its secrets: as it was given, but with the whole path of a file."""
    if is_sqlite(url):
        return _SQLITE + sqlite_file(url)
    before, mark, query = _PASSWORD.sub(r"\1:***@", url).partition("?")
    return before + mark + "&".join(map(_without_secret, query.split("&")))


def _without_secret(parameter: str) -> str:
    name, _, _ = parameter.partition("=")
    # libpq passes over spaces around it.
    return f"{name}=***" if unquote(name).strip() in _SECRETS else parameter


def _as_libpq_has_it(url: str) -> str:
    """Return the URL with hosts and ports, where they are parameters, in one list each."""
    before, _, query = url.partition("?")
    rest = before[before.index("://") :]
    parameters = [each for each in query.split("&") if each]
    hosts = [_host(host) for host in _values(parameters, "host")]
    ports = [port for _, port in hosts]
    if not any(ports):
        ports = list(_values(parameters, "port"))
    kept = [_escaped(each) for each in parameters if _name(each) not in {"host", "port"}]
    if hosts:
        kept.append("host=" + quote(",".join(host for host, _ in hosts)))
    if ports:
        kept.append("port=" + quote(",".join(ports)))
    return "?".join(["postgresql" + rest, *(["&".join(kept)] if kept else [])])


def _escaped(parameter: str) -> str:
    """Let a value hold =, as options do; it is clear, though libpq wants it escaped."""
    name, equals, value = parameter.partition("=")
    return name + equals + value.replace("=", "%3D")


def _values(parameters: Sequence[str], name: str) -> Iterator[str]:
    for each in parameters:
        if _name(each) == name:
            yield from unquote(each.partition("=")[2], errors="strict").split(",")


def _name(parameter: str) -> str:
    return unquote(parameter.partition("=")[0])


def _host(text: str) -> tuple[str, str]:
    """Return a host and its port, which may be empty."""
    found = _HOST.fullmatch(text)
    if not found:
        return text, ""
    parts = found.groupdict()
    return parts["ipv6"] or parts["name"] or "", parts["ipv6_port"] or parts["port"] or ""


def _refuse_unknown_parameters(url: str) -> None:
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.parse(b"")} | {"ssl"}
    for parameter in url.partition("?")[2].split("&"):
        name = _name(parameter)
        # What is spelt otherwise may be a part of the password.
        if re.fullmatch(r"[a-z_]+", name) and "@" not in parameter and name not in known:
            advice = "; leave it out: a pooler is recognised" if name in _FOR_POOLERS else ""
            raise InvalidUrl(f"libpq has no parameter {name}{advice}")


def _refuse_values(parameters: dict[str, str]) -> None:
    for name in ("host", "dbname"):
        # At its beginning it is an abstract socket.
        if "@" in parameters.get(name, "")[1:]:
            raise InvalidUrl(_MALFORMED)
    for port in parameters.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise InvalidUrl("the port must be a number from 1 to 65535")
    for name in sorted(_NUMBERS & parameters.keys()):
        if not re.fullmatch(r"-?[0-9]{1,9}", parameters[name]):
            raise InvalidUrl(f"{name} must be a whole number")
    _ask_libpq(parameters)


def _ask_libpq(parameters: dict[str, str]) -> None:
    """Refuse what libpq refuses before it connects, such as a service that is not defined."""
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn

    # Hosts that are nowhere, as many as there are.
    of = next((parameters[name] for name in ("host", "hostaddr", "port") if name in parameters), "")
    count = len(of.split(","))
    nowhere = {"host": ",".join(["/dev/null"] * count), "port": parameters.get("port", "5432")}
    others = {name: value for name, value in parameters.items() if name != "hostaddr"}
    connection = PGconn.connect_start(make_conninfo("", **others | nowhere).encode())
    problem = connection.get_error_message()
    connection.finish()
    if "/dev/null" not in problem:
        raise InvalidUrl(problem.splitlines()[0])
