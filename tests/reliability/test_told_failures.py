"""After an answer nothing of the call is stored any more, whatever the answer was."""

import threading
import time
from collections import Counter
from pathlib import Path

from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL
from support.databases import locked, url_of
from support.load import Failed, RestCaller
from support.serving import served
from support.torture import either, measured

WRITERS = 6
ROUNDS = int(either(1, 8))
# Writers give up before that, and try again while it lasts.
LOCKED_S = USUAL.call_s + 1.5


class Writer:
    """Writes a value; told that this failed, writes another one until that is acknowledged."""

    def __init__(self, address: str, name: str) -> None:
        self._caller = RestCaller(address, keyed=True)
        self.own = self._caller.create(name)
        self.failures: list[int] = []
        self.acknowledged = ""

    def write(self, number: int) -> None:
        for attempt in range(100):
            value = f"{number}-{attempt}"
            try:
                self._caller.update(self.own, value)
            except Failed as failed:
                self.failures.append(failed.status)
            else:
                self.acknowledged = value
                return

    def found(self) -> str:
        return self._caller.read(self.own)

    def close(self) -> None:
        self._caller.close()


def test_a_write_that_was_told_to_have_failed_undoes_no_later_one(
    own: Database, tmp_path: Path
) -> None:
    with served(url_of(own), tmp_path, workers=3) as running:
        writers = [Writer(running.rest, f"writer-{number}") for number in range(WRITERS)]
        for number in range(ROUNDS):
            threads = [threading.Thread(target=each.write, args=[number]) for each in writers]
            with locked(url_of(own)):
                for thread in threads:
                    thread.start()
                time.sleep(LOCKED_S)
            for thread in threads:
                thread.join(30)
            # Until whatever may still be under way has ended.
            time.sleep(USUAL.call_s + 1)
            assert [each.found() for each in writers] == [each.acknowledged for each in writers]
            assert all(each.acknowledged.startswith(f"{number}-") for each in writers)
        for each in writers:
            each.close()
        told = Counter(status for each in writers for status in each.failures)
        measured(f"writes were told to have failed: {dict(told)}")
        assert all(each.failures for each in writers)
        assert set(told) <= {429, 503, 504}
