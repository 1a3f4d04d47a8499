"""The settings of the service, read from environment variables named PEERMENTOR_*.

Every setting has a default. A value that cannot be used refuses to start, and the message
names its variable. The table in README.md is for people; a test keeps it complete.
"""

import ipaddress
import itertools
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from peermentor_server.failures import CommandFailed

PREFIX = "PEERMENTOR_"


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
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("must be an IP address and a port, such as 127.0.0.1:8080") from None
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
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
        """Where a client on this machine reaches it: an unspecified address by loopback."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        return Address(loopback.get(self.host, self.host), self.port)


def _split_list(value: Any) -> Any:
    return tuple(filter(None, value.replace(",", " ").split())) if isinstance(value, str) else value


ListenAddress = Annotated[Address, BeforeValidator(Address.parse)]


class Settings(BaseSettings):
    """How to run the service. `Settings()` reads the environment; only `__main__` does."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, enable_decoding=False, frozen=True, extra="forbid"
    )

    database_url: str = Field(default="sqlite:///peermentor.db", repr=False)
    """Where the data is: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME."""

    grpc_address: ListenAddress = Address("127.0.0.1", 50051)
    """Where gRPC is served: by the gateway, or with --no-gateway by the server itself."""

    rest_address: ListenAddress = Address("127.0.0.1", 8080)
    """Where REST is served; gRPC-Web and gRPC too."""

    admin_address: ListenAddress = Address("127.0.0.1", 9901)
    """Where the gateway's own admin pages listen; keep it on a loopback address."""

    workers: int | None = Field(default=None, ge=1, le=64)
    """How many processes serve; default: 1 on SQLite, on PostgreSQL one for each core."""

    overdue_after_days: int = Field(default=14, ge=1, le=3650)
    """After how many days without contact an assignment is overdue."""

    rest_hosts: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = ()
    """Host names the gateway is called by; none: loopback names on loopback, elsewhere any."""

    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = ()
    """Origins whose web pages may call the gateway, with commas between; none: CORS is off."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log lines to write."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """console for people, json for machines; auto: console on a terminal, json elsewhere."""

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        scheme, host, _, options, _ = urlsplit(value)
        if scheme == "sqlite":
            if host or options:
                raise ValueError("must be sqlite:///FILE, without a host or options")
            if value in {"sqlite:", "sqlite://", "sqlite:///"} or ":memory:" in value:
                raise ValueError("must name a file, such as sqlite:///peermentor.db")
        elif scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @field_validator("rest_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
                raise ValueError("must be host names such as api.example.org, without a port")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            bare = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
            if parts.scheme not in {"http", "https"} or not parts.hostname or origin != bare:
                raise ValueError("must be origins such as https://app.example.org, without a path")
        return value

    @model_validator(mode="after")
    def _distinct_addresses(self) -> Self:
        addresses = (self.grpc_address, self.rest_address, self.admin_address)
        if any(one.overlaps(other) for one, other in itertools.combinations(addresses, 2)):
            raise ValueError(
                "PEERMENTOR_GRPC_ADDRESS, PEERMENTOR_REST_ADDRESS and PEERMENTOR_ADMIN_ADDRESS "
                "must differ"
            )
        return self

    @property
    def worker_count(self) -> int:
        """How many processes serve."""
        if self.workers is not None:
            return self.workers
        return 1 if self.database_url.startswith("sqlite") else _cores()


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def load(**overrides: Any) -> Settings:
    """Read the settings from the environment, or raise InvalidSettings."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise InvalidSettings("\n".join(map(_explain, error.errors()))) from None


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names of variables that look like settings and are none."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(name for name in names if name.startswith(PREFIX) and name not in known)


def _explain(error: Any) -> str:
    # Never the value: a database URL holds a password.
    message = str(error["msg"]).removeprefix("Value error, ")
    name = "".join(f"{PREFIX}{part.upper()}: " for part in error["loc"][:1])
    return f"{name}{message[:1].lower()}{message[1:]}" if name else message
