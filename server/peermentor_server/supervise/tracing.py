"""What the gateway is told where traces are sent: its spans are the first of each call.

A span of Envoy's names the method, the host, the program of the caller, and how the call ended.
Paths are left out: they hold ids, and queries whatever callers look for. So are addresses.
"""

import ipaddress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from peermentor_server.trace_export import TraceExport

_CLUSTER = "traces"
_CONFIG = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"
_REQUEST_IDS = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_DETECTOR = "envoy.tracers.opentelemetry.resource_detectors.static_config"
_ATTRIBUTES = (
    "type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
    ".StaticConfigResourceDetectorConfig"
)
# Once a call of REST is transcoded it has the path of an RPC too.
_NAME = "%CEL(request.path.startsWith('/peermentor.v1.') ? request.path : request.method)%"
_TIMEOUT = "10s"
# While the receiver hangs, so much waits for it at most, each with hundreds of spans.
_MAX_REQUESTS = 16


def of_calls(traces: TraceExport) -> dict[str, Any]:
    """Return what a connection manager is told."""
    provider = {
        "@type": _CONFIG,
        # Who shows traces tells senders apart by their names.
        "service_name": f"{traces.service}-gateway",
        "http_service": {
            "http_uri": {"uri": traces.url, "cluster": _CLUSTER, "timeout": _TIMEOUT},
            "request_headers_to_add": [
                # A percent sign would begin a variable.
                {"header": {"key": name, "value": value.replace("%", "%%")}}
                for name, value in traces.headers.items()
            ],
        },
        "resource_detectors": [
            {
                "name": _DETECTOR,
                "typed_config": {"@type": _ATTRIBUTES, "attributes": dict(traces.attributes)},
            }
        ],
    }
    return {
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
            # Of calls whose callers have not decided that.
            "random_sampling": {"value": 100 * traces.share},
            "operation": _NAME,
            "max_path_tag_length": 0,
            "custom_tags": [
                {"tag": "peer.address", "literal": {"value": "-"}},
                # Under the name that it has in the log.
                {"tag": "request_id", "request_header": {"name": "x-request-id"}},
            ],
        },
        # By itself it would write into ids of callers whether they are traced, and decide by them.
        "request_id_extension": {
            "typed_config": {
                "@type": _REQUEST_IDS,
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        },
    }


def receiver(traces: TraceExport) -> dict[str, Any]:
    """Return the cluster to which spans are sent."""
    parts = urlsplit(traces.url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    address = {"socket_address": {"address": parts.hostname, "port_value": port}}
    cluster: dict[str, Any] = {
        "name": _CLUSTER,
        "type": "LOGICAL_DNS",
        # `localhost` is two addresses, and a receiver may listen on one of them.
        "dns_lookup_family": "ALL",
        # Calls do not wait until its name is known.
        "wait_for_warm_on_init": False,
        "connect_timeout": "1s",
        "circuit_breakers": {
            "thresholds": [{"max_requests": _MAX_REQUESTS, "max_pending_requests": _MAX_REQUESTS}]
        },
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if parts.scheme == "https":
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": _tls(traces, parts),
        }
    return cluster


def _tls(traces: TraceExport, parts: SplitResult) -> dict[str, Any]:
    host = parts.hostname or ""
    kind = "IP_ADDRESS" if _is_address(host) else "DNS"
    common: dict[str, Any] = {
        "validation_context": {
            "trusted_ca": {"filename": traces.authority},
            "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
        }
    }
    if traces.certificate:
        # Both may be in one file.
        key = traces.key or traces.certificate
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": traces.certificate},
                "private_key": {"filename": key},
            }
        ]
    names = {} if kind == "IP_ADDRESS" else {"sni": host}
    return {"@type": _TLS, "common_tls_context": common, **names}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
