"""Ports on the loopback address: which are free, and ports to keep for the workers."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from peermentor_server.settings import Address

LOOPBACK = "127.0.0.1"


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


@contextmanager
def reserved(count: int) -> Iterator[list[Address]]:
    """Keep private ports for as long as the block lasts.

    A socket that is bound and does not listen keeps others away, but not those of the same
    user who bind it with SO_REUSEPORT too: the workers, and those that replace them.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind((LOOPBACK, 0))
        yield [Address(LOOPBACK, each.getsockname()[1]) for each in sockets]
