"""Connections that lose answers, or that freeze, as in a network."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Swallower:
    """Stands between a client and a server; answers no longer come through once told so."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.swallows = False
        self.swallowed = 0
        self.opened = 0
        self._frozen: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self.opened += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._sockets.append(server)
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if client not in self._frozen:
                    server.sendall(data)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self.swallows or client in self._frozen:
                    self.swallowed += len(data)
                else:
                    client.sendall(data)
        # A server that has died: its client shall see it.
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Let nothing pass any more on the connections that there are; new ones work."""
        self._frozen.update(self._sockets)

    def close(self) -> None:
        """Break all connections, and take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        # Until it ends it may still add to the sockets.
        self._accepting.join()
        for each in self._sockets:
            # Wakes the thread that waits for it.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def swallower(server_port: int) -> Iterator[Swallower]:
    """Stand in front of the server at this port until the end of the block."""
    between = Swallower(server_port)
    try:
        yield between
    finally:
        between.close()
