"""What is looked at every second for the metrics."""

from peermentor_server.rpc.samples import Samples
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import metrics
from support.moves import Moves
from support.waiting import wait_until


def test_what_is_in_use_is_told(own: Database) -> None:
    samples = Samples(own)
    samples.take()
    moves = Moves()

    def are_in_use(connections: int, calls: int) -> bool:
        # Other servers of this process may take theirs in between.
        samples.take()
        return (
            moves.of("peermentor_database_connections_in_use") == connections
            and moves.of("peermentor_calls_in_flight") == calls
        )

    method = metrics.current.rpc("/peermentor.v1.AssignmentService/GetAssignment")
    began = method.begin()
    with own.write():
        wait_until(lambda: are_in_use(1, 1), 5)
    method.end(began, "OK")
    wait_until(lambda: are_in_use(0, 0), 5)
    assert moves.of("peermentor_worker_cpu_seconds") > 0
