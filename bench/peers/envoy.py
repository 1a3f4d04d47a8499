"""Configurations of Envoy: a plain proxy before a REST service, and the transcoder alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def plain_proxy(port: int, backends: Sequence[int]) -> dict[str, Any]:
    """Pass REST on, with the timeouts and checks that an edge proxy is to have."""
    careful = {
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "5s",
        "request_timeout": "10s",
        "stream_idle_timeout": "30s",
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
    }
    return _configuration(port, backends, careful, filters=[], upstream={})


def transcoder(port: int, backend: int, descriptor_set: Path) -> dict[str, Any]:
    """Make gRPC of REST, with the service's way to print, and nothing else."""
    transcoding = {
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": str(descriptor_set),
            "services": ["peermentor.v1.AssignmentService"],
            "convert_grpc_status": True,
            "print_options": {
                "preserve_proto_field_names": True,
                "always_print_primitive_fields": True,
            },
        },
    }
    upstream = {"typed_extension_protocol_options": _HTTP2}
    return _configuration(port, [backend], {}, filters=[transcoding], upstream=upstream)


def _configuration(
    port: int,
    backends: Sequence[int],
    options: dict[str, Any],
    *,
    filters: list[dict[str, Any]],
    upstream: dict[str, Any],
) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "10s"}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "rest",
        **options,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*filters, router],
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    cluster = {
        "name": "backend",
        "type": "STATIC",
        **upstream,
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": _address(each)} for each in backends]}],
        },
    }
    listener = {"name": "rest", **_address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
