"""Ports: which are free to listen on."""

import socket

from peermentor_server.settings import Address


def why_not_free(address: Address) -> str | None:
    """Say why nothing can listen there; None if something can."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # As the gateway and gRPC do: on `::` they take IPv4 too.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
            probe.bind((address.host, address.port))
    except OSError as error:
        return (error.strerror or "unknown reason").lower()
    return None
