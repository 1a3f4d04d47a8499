"""Writes how Envoy is configured in the tier of three nodes: nearly as in deploy/several-machines.

Usage: tier.py ENVOY_YAML. Nodes are found by the name of their Service, and certificates are read
anew when they are replaced.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).parents[1] / "several-machines/envoy.yaml"
# Where the pods have the other files.
PLACE = Path("/etc/tier")
HEADING = (
    "# Generated from deploy/several-machines/envoy.yaml by tier.py (make generate). Do not edit.\n"
)
Part = dict[str, Any]


def configuration() -> Part:
    """Return the configuration."""
    tier: Part = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    # Who asks for secrets has to have names, whomever they ask.
    tier["node"] = {"id": "tier", "cluster": "tier"}
    # How it is told to leave.
    tier["admin"]["allow_paths"].append({"exact": "/healthcheck/fail"})
    [listener] = tier["static_resources"]["listeners"]
    tls = _tls(listener["filter_chains"][0])
    del tls["tls_certificates"]
    tls["tls_certificate_sds_secret_configs"] = [_watched("certificate")]
    [cluster] = tier["static_resources"]["clusters"]
    _find_by_name(cluster)
    tls = _tls(cluster)
    del tls["validation_context"]
    tls["validation_context_sds_secret_config"] = _watched("authority")
    cluster["transport_socket"]["typed_config"]["sni"] = "peermentor"
    return tier


def _tls(of: Part) -> Part:
    found: Part = of["transport_socket"]["typed_config"]["common_tls_context"]
    return found


def _watched(name: str) -> Part:
    file = {"path": str(PLACE / f"{name}.yaml")}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": file}}


def _find_by_name(cluster: Part) -> None:
    """Let each address that there is for the name of the nodes be one of them."""
    del cluster["type"]
    cluster["cluster_type"] = {
        "name": "envoy.clusters.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "dns_refresh_rate": "2s",
            "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "2s"},
        },
    }
    address = {"socket_address": {"address": "peermentor-nodes", "port_value": 8443}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    cluster["load_assignment"]["endpoints"] = endpoints


class _Plain(yaml.SafeDumper):
    """Writes out what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say so of everything."""
        return data is not None


def main(file: str) -> None:
    """Write the file anew."""
    text = yaml.dump(configuration(), Dumper=_Plain, sort_keys=False, width=1000)
    Path(file).write_text(HEADING + text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
