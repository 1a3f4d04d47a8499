"""A pool that measures how long connections are waited for, in vain too."""

import time

from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from peermentor_server.telemetry import metrics


class MeasuredPool(QueuePool):
    """The pool that SQLAlchemy uses by itself, measured."""

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; TimeoutError of SQLAlchemy's if none comes free in time."""
        came = time.perf_counter()
        try:
            return super().connect()
        finally:
            metrics.current.connecting.observe(time.perf_counter() - came)
