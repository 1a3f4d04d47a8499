"""Where traces are sent, as the standard variables named OTEL_* say it.

Workers read these variables by the library that sends their spans; the gateway is told from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_RATIO = "OTEL_TRACES_SAMPLER_ARG"
_PROTOCOL = "http/protobuf"
_NAME = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~/-]+")


class CannotTrace(Exception):
    """Traces are wanted and cannot be sent; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceExport:
    """A receiver of spans (OTLP over HTTP), and which are sent to it."""

    url: str
    service: str = "peermentor"
    share: float = 1.0
    """How many of the traces are sent that begin here, from 0 to 1."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What is said of the sender beside its name."""

    authority: str | None = None
    """A PEM file with those who may vouch for the receiver, where that is one with TLS."""

    certificate: str | None = None
    key: str | None = None
    """PEM files that vouch for the sender."""


def read(environment: Mapping[str, str]) -> TraceExport | None:
    """Return where traces are sent, None if nowhere, or raise CannotTrace."""
    variables = {name: value.strip() for name, value in environment.items() if value.strip()}
    if not _is_wanted(variables):
        return None
    if not _is_installed():
        raise CannotTrace("what sends them is not installed: pip install 'peermentor-server[otel]'")
    protocol = _of_exporter(variables, "PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        raise CannotTrace(f"OTEL_EXPORTER_OTLP_PROTOCOL: must be {_PROTOCOL}")
    url = _url(variables)
    attributes = _pairs("OTEL_RESOURCE_ATTRIBUTES", variables.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = attributes.pop("service.name", "peermentor")
    headers = _of_exporter(variables, "HEADERS")
    return TraceExport(
        url=url,
        service=variables.get("OTEL_SERVICE_NAME", named),
        share=_share(variables),
        headers=_pairs("OTEL_EXPORTER_OTLP_HEADERS", headers or ""),
        attributes=attributes,
        authority=_of_exporter(variables, "CERTIFICATE") or _usual_authority(url),
        certificate=_of_exporter(variables, "CLIENT_CERTIFICATE"),
        key=_of_exporter(variables, "CLIENT_KEY"),
    )


def _is_wanted(variables: Mapping[str, str]) -> bool:
    if not variables.keys() & {_ENDPOINT, _TRACES_ENDPOINT}:
        return False
    is_disabled = variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and "otlp" in variables.get("OTEL_TRACES_EXPORTER", "otlp")


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _of_exporter(variables: Mapping[str, str], name: str) -> str | None:
    """Return what is said for traces alone, or else for all that is sent."""
    return variables.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or variables.get(
        f"OTEL_EXPORTER_OTLP_{name}"
    )


def _url(variables: Mapping[str, str]) -> str:
    name = _TRACES_ENDPOINT if _TRACES_ENDPOINT in variables else _ENDPOINT
    url = variables[name]
    if not _is_url(url):
        raise CannotTrace(f"{name}: must be a URL such as http://127.0.0.1:4318")
    # The one for traces alone is whole as it is.
    return url if name == _TRACES_ENDPOINT else f"{url.removesuffix('/')}/v1/traces"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    is_plain = re.fullmatch("[!-~]+", text) and not re.search("[@?#]", text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname and is_plain)


def _share(variables: Mapping[str, str]) -> float:
    sampler = variables.get("OTEL_TRACES_SAMPLER", "").lower()
    if not sampler.endswith("traceidratio"):
        return 0.0 if sampler.endswith("always_off") else 1.0
    try:
        share = float(variables.get(_RATIO, "1"))
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise CannotTrace(f"{_RATIO}: must be a number from 0 to 1")
    return share


def _pairs(variable: str, text: str) -> dict[str, str]:
    pairs = [each.partition("=") for each in text.split(",") if each.strip()]
    told = {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
    if not all(_NAME.fullmatch(name) and value.isprintable() for name, value in told.items()):
        # Never the value: it may be a secret.
        raise CannotTrace(f"{variable}: must be NAME=VALUE, with commas between several")
    return told


def _usual_authority(url: str) -> str | None:
    if not url.startswith("https:"):
        return None
    # As workers have it, whose library for HTTP brings it.
    import certifi

    return certifi.where()
