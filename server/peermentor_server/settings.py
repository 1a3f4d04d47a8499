"""The settings of the service, from environment variables named PEERMENTOR_*.

Every setting has a default, which an empty variable stands for too. A value that cannot be
used refuses to start, and the message names its variable. The table in docs/operations.md is
for people; a test keeps it complete.
"""

import ipaddress
import itertools
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from peermentor_server import database_url
from peermentor_server.failures import CommandFailed

PREFIX = "PEERMENTOR_"
DATABASE_URL_FILE = "PEERMENTOR_DATABASE_URL_FILE"
# Where the clients of the Python package look for the service.
_OF_CLIENTS = {"PEERMENTOR_ADDRESS", "PEERMENTOR_TOKEN", "PEERMENTOR_TOKEN_FILE"}
Access = Literal["open", "open-everywhere", "required"]
# Asymmetric alone: who checks a token cannot make one.
JwtAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
Switch = Literal["off", "on"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


class InvalidSettings(CommandFailed):
    """One line for each setting that cannot be used, beginning with its variable's name."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port to listen on."""

    host: str
    port: int

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `host:port`, with an IPv6 host in brackets; `localhost` is 127.0.0.1."""
        if isinstance(value, cls):
            return value
        host, _, port = str(value).rpartition(":")
        try:
            host = _ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            raise ValueError(
                "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"
            ) from None
        if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            raise ValueError("must end in a port from 1 to 65535, such as 127.0.0.1:8080")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: "Address") -> bool:
        """Tell whether only one of both can be listened on."""
        everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        same_host = self.host == other.host or everywhere & {self.host, other.host}
        return self.port == other.port and bool(same_host)

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def to_connect(self) -> "Address":
        """Where a client on this machine reaches it: an unspecified address by loopback.

        What listens on `::` takes IPv4 too, which a machine has that has no IPv6.
        """
        everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        return Address("127.0.0.1" if self.host in everywhere else self.host, self.port)


def _ip_address(text: str) -> str:
    """Return the one spelling of an address, whose IPv6 form stands in brackets."""
    if not (text.startswith("[") and text.endswith("]")):
        return str(ipaddress.IPv4Address(text))
    address = ipaddress.IPv6Address(text[1:-1])
    if address.scope_id is not None:
        raise ValueError("the gateway knows no names of interfaces")
    return str(address.ipv4_mapped or address)


def _host_name(text: str) -> str:
    """Return the name as a Host header has it, without a port."""
    try:
        return f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        name = text.removesuffix(".").lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        raise ValueError("must be host names such as api.example.org, without a port")
    return name


def _split_list(value: Any) -> Any:
    return tuple(filter(None, value.replace(",", " ").split())) if isinstance(value, str) else value


def _whole(low: int, high: int) -> BeforeValidator:
    def read(value: Any) -> int:
        if not re.fullmatch("[0-9]{1,9}", str(value)) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return BeforeValidator(read)


def _whole_path(value: Any) -> Path | None:
    # Whoever reads it in a message may be somewhere else.
    return Path(value).absolute() if value else None


def _one_of(words: Any) -> BeforeValidator:
    *most, last = get_args(words)

    def read(value: Any) -> str:
        word = str(value).lower()
        if word not in {*most, last}:
            raise ValueError(f"must be {', '.join(most)} or {last}")
        return word

    return BeforeValidator(read)


def _address_or_off(value: Any) -> Address | None:
    return None if value is None or str(value).lower() == "off" else Address.parse(value)


ListenAddress = Annotated[Address, BeforeValidator(Address.parse)]
OptionalFile = Annotated[Path | None, BeforeValidator(_whole_path)]


class Settings(BaseModel):
    """How to run the service: what is given, and defaults. `load` reads the environment."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    database_url: str = Field(default="sqlite:///peermentor.db", repr=False)
    """Where the data is: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME."""

    access: Annotated[Access, _one_of(Access)] = "open"
    """Who may call: with `open` and `open-everywhere` whoever reaches an address, of which `open`
    lets only this machine reach one; with `required` who has a key, or a token."""

    jwt_issuer: str = ""
    """Whose tokens (JWT) are taken: their `iss`."""

    jwt_audience: str = ""
    """For whom tokens must be: one of their `aud`."""

    jwt_keys: str = ""
    """Where the keys are by which they are signed: a JSON Web Key Set, in a file or at a URL."""

    jwt_algorithms: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = (
        "RS256",
        "ES256",
        "EdDSA",
    )
    """How they may be signed."""

    jwt_organizations_claim: str = "organizations"
    """Which claim names the organisations that a token is for; `*` stands for all."""

    jwt_permission_claim: str = "permission"
    """Which claim says what a token permits: read, write or admin."""

    tls_certificate: OptionalFile = None
    """A PEM file with the certificate of the service, and those between it and its authority."""

    tls_key: OptionalFile = None
    """A PEM file with the key of that certificate; with both, all ports speak TLS alone."""

    tls_client_ca: OptionalFile = None
    """A PEM file with the authorities whose client certificates are taken in place of keys."""

    tls_client_subjects: OptionalFile = None
    """A TOML file that says for which subjects of certificates, and what they may do."""

    grpc_address: ListenAddress = Address("127.0.0.1", 50051)
    """Where gRPC is served: by the gateway, or with --no-gateway by the server itself."""

    rest_address: ListenAddress = Address("127.0.0.1", 8080)
    """Where REST is served; gRPC-Web and gRPC too."""

    admin_address: ListenAddress = Address("127.0.0.1", 9901)
    """Where the gateway's own admin pages listen; keep it on a loopback address."""

    metrics_address: Annotated[Address | None, BeforeValidator(_address_or_off)] = Address(
        "127.0.0.1", 9464
    )
    """Where the metrics are, for Prometheus, in plain HTTP; `off` for nowhere."""

    metrics_counts: Annotated[Switch, _one_of(Switch)] = "off"
    """Whether rows are counted for the metrics, once a minute; these then name organisations."""

    workers: Annotated[int, _whole(1, 64)] | None = None
    """How many processes serve; default: 1 on SQLite, on PostgreSQL one for each core."""

    overdue_after_days: Annotated[int, _whole(1, 3650)] = 14
    """After how many days without contact an assignment is overdue."""

    rest_hosts: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = ()
    """Host names the gateway is called by; none: loopback names on loopback, elsewhere any."""

    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = ()
    """Origins whose web pages may call the gateway, with commas between; none: CORS is off."""

    docs_page: Annotated[Switch, _one_of(Switch)] = "on"
    """Whether the gateway serves /docs, a page that shows the REST API and calls it."""

    log_level: Annotated[LogLevel, _one_of(LogLevel)] = "info"
    """The least severe log lines to write."""

    log_format: Annotated[LogFormat, _one_of(LogFormat)] = "auto"
    """console for people, json for machines; auto: console on a terminal, json elsewhere."""

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        # What stands for bytes of the environment that are no text.
        if re.search("[\ud800-\udfff]", value):
            raise ValueError("must be text in UTF-8")
        return value.strip()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        database_url.check(value)
        return value

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if (value is None) != (others.data.get("tls_certificate") is None):
            raise ValueError("PEERMENTOR_TLS_CERTIFICATE and PEERMENTOR_TLS_KEY need each other")
        return value

    @field_validator("tls_client_subjects")
    @classmethod
    def _known_subjects(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if (value is None) != (others.data.get("tls_client_ca") is None):
            raise ValueError(
                "PEERMENTOR_TLS_CLIENT_CA and PEERMENTOR_TLS_CLIENT_SUBJECTS need each other"
            )
        if value and others.data.get("access", "required") != "required":
            raise ValueError("is of use only with PEERMENTOR_ACCESS=required")
        if value and "tls_key" in others.data and others.data["tls_key"] is None:
            raise ValueError(
                "is of use only with PEERMENTOR_TLS_CERTIFICATE and PEERMENTOR_TLS_KEY"
            )
        return value

    @field_validator("jwt_keys")
    @classmethod
    def _trusted_keys(cls, value: str, others: ValidationInfo) -> str:
        given = (others.data["jwt_issuer"], others.data["jwt_audience"], value)
        if any(given) and not all(given):
            raise ValueError(
                "PEERMENTOR_JWT_ISSUER, PEERMENTOR_JWT_AUDIENCE and PEERMENTOR_JWT_KEYS must all "
                "be set, or none of them"
            )
        if value and others.data.get("access", "required") != "required":
            raise ValueError("is of use only with PEERMENTOR_ACCESS=required")
        if "://" in value and not _is_safe_url(value):
            raise ValueError(
                "must be a file, or a URL with https, without user and fragment; http is for "
                "loopback alone"
            )
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(get_args(JwtAlgorithm)):
            raise ValueError(f"must be some of {', '.join(get_args(JwtAlgorithm))}")
        return value

    @field_validator("rest_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_host_name(host) for host in value)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_is_origin, value)):
            raise ValueError(
                "must be origins as browsers send them, such as https://app.example.org: in lower "
                "case and punycode, without wildcard, path and default port"
            )
        return value

    @field_validator("admin_address")
    @classmethod
    def _of_this_machine(cls, value: Address, others: ValidationInfo) -> Address:
        if others.data.get("access") == "required" and not value.is_loopback:
            raise ValueError("asks nobody for a key; keep to 127.0.0.1")
        return value

    @field_validator("grpc_address", "rest_address", "admin_address")
    @classmethod
    def _not_open_by_accident(cls, value: Address, others: ValidationInfo) -> Address:
        is_secret = others.data.get("tls_key") is not None
        if others.data.get("access") == "required" and not (value.is_loopback or is_secret):
            raise ValueError(
                "would let others on the way read keys and data; set PEERMENTOR_TLS_CERTIFICATE "
                "and PEERMENTOR_TLS_KEY, or keep to 127.0.0.1, with a proxy in front"
            )
        if others.data.get("access") == "open" and not value.is_loopback:
            raise ValueError(
                "would let other machines in, and whoever calls may read and change everything; "
                "keep to 127.0.0.1, or set PEERMENTOR_ACCESS to open-everywhere where something "
                "else looks at who calls"
            )
        return value

    @field_validator("metrics_address")
    @classmethod
    def _metrics_of_this_machine(cls, value: Address | None, others: ValidationInfo) -> object:
        if value and others.data.get("access") == "open" and not value.is_loopback:
            raise ValueError(
                "would tell other machines of the service; keep to 127.0.0.1, or set "
                "PEERMENTOR_ACCESS to required, or to open-everywhere"
            )
        return value

    @field_validator("metrics_address")
    @classmethod
    def _distinct_addresses(cls, value: Address | None, others: ValidationInfo) -> Address | None:
        # Those that are no addresses are not among them.
        names = ("grpc_address", "rest_address", "admin_address")
        addresses = {name: others.data[name] for name in names if name in others.data}
        if value is not None:
            addresses["metrics_address"] = value
        for (name, one), (other_name, other) in itertools.combinations(addresses.items(), 2):
            if one.overlaps(other):
                both = " and ".join(f"PEERMENTOR_{each.upper()}" for each in (name, other_name))
                raise ValueError(f"{both} must differ")
        return value

    @property
    def rest_url(self) -> str:
        """Where a client on this machine reaches REST."""
        scheme = "http" if self.tls_key is None else "https"
        return f"{scheme}://{self.rest_address.to_connect}"

    @property
    def worker_count(self) -> int:
        """How many processes serve."""
        if self.workers is not None:
            return self.workers
        return 1 if self.database_url.startswith("sqlite") else _cores()


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        parts.scheme in {"http", "https"}
        and re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host or "") is not None
        and parts.port != {"http": 80, "https": 443}[parts.scheme]
        and (text == f"{parts.scheme}://{host}{port}")
    )


def _is_safe_url(text: str) -> bool:
    """Tell whether what is there comes from whom the URL names, and no one on the way."""
    try:
        parts = urlsplit(text)
        host = _host_name(parts.hostname or "")
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or parts.fragment:
        return False
    if not re.fullmatch("[!-~]+", text):
        return False
    return parts.scheme == "https" or _is_loopback_name(host)


def _is_loopback_name(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def load(environment: Mapping[str, str], **overrides: Any) -> Settings:
    """Read the settings from an environment, or raise InvalidSettings.

    What is empty is not set.
    """
    given = {
        name: value
        for name in Settings.model_fields
        if (value := environment.get(variable(name), "")).strip()
    }
    given |= _of_file(environment, given)
    try:
        return Settings(**given | overrides)
    except ValidationError as error:
        raise InvalidSettings("\n".join(map(_explain, error.errors()))) from None


def _of_file(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the URL of the database, which may hold a password, from a file that is named."""
    file = environment.get(DATABASE_URL_FILE, "").strip()
    if not file:
        return {}
    if "database_url" in given:
        raise InvalidSettings(f"{DATABASE_URL_FILE}: must not be set along with the URL itself")
    try:
        return {"database_url": Path(file).read_text("utf-8")}
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise InvalidSettings(f"{DATABASE_URL_FILE}: {file}: {reason}") from None
    except ValueError:
        raise InvalidSettings(f"{DATABASE_URL_FILE}: {file} is no text in UTF-8") from None


def variable(name: str) -> str:
    """Return the name of the variable that a setting is given by."""
    return f"{PREFIX}{name.upper()}"


def source(name: str, environment: Mapping[str, str]) -> str:
    """Say where `load` has a setting from: `default`, `environment`, or `file` and its name."""
    if environment.get(variable(name), "").strip():
        return "environment"
    if name == "database_url" and (file := environment.get(DATABASE_URL_FILE, "").strip()):
        return f"file {Path(file).absolute()}"
    return "default"


def log_format(environment: Mapping[str, str]) -> str:
    """Read how to log from an environment, as long as it is not known whether all is well."""
    word = environment.get(f"{PREFIX}LOG_FORMAT", "").strip().lower()
    return word if word in get_args(LogFormat) else "auto"


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names of variables that look like settings and are none."""
    known = _OF_CLIENTS | {DATABASE_URL_FILE} | set(map(variable, Settings.model_fields))
    return sorted(name for name in names if name.upper().startswith(PREFIX) and name not in known)


def _explain(error: Any) -> str:
    # Never the value: a database URL holds a password.
    message = str(error["msg"]).removeprefix("Value error, ")
    return message if message.startswith(PREFIX) else f"{variable(error['loc'][0])}: {message}"
