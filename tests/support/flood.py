"""Very many callers at once, over connections of their own, as cheaply as Python can."""

import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

OK = 200


@dataclass
class Answers:
    """What came back: how often each status, how long each took, and one head and body of each."""

    seconds: float = 0.0
    counts: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    heads: dict[int, bytes] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)

    def rate(self, status: int) -> float:
        """Return how many answers of this status came in a second."""
        return self.counts[status] / self.seconds

    def p99(self) -> float:
        """Return what 99 of 100 answers took at most, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[int(len(ordered) * 0.99)]


class _Caller:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self._request = request
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.received = b""
        self.sent_at = 0.0

    def send(self) -> None:
        self.received, self.sent_at = b"", time.monotonic()
        self.socket.sendall(self._request)

    def answer(self) -> tuple[int, bytes, bytes] | None:
        """Return the status, the head in small letters, and the body, once all has come."""
        data = self.socket.recv(65536)
        assert data, "the gateway has closed a connection"
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return None
        head = head.lower()
        headers = head.split(b"\r\n")
        (length,) = [int(each[15:]) for each in headers if each.startswith(b"content-length:")]
        return (int(head[9:12]), head, body) if len(body) >= length else None


def flood(address: str, requests: Sequence[bytes], seconds: float, pause: float = 0.0) -> Answers:
    """Let a caller for each request send it again and again, as soon as it has its answer.

    After an answer other than 200 it waits `pause` seconds.
    """
    host, _, port = address.partition(":")
    everyone = [_Caller((host, int(port)), request) for request in requests]
    answers = Answers()
    with selectors.DefaultSelector() as selector:
        for caller in everyone:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
        _run(selector, everyone, answers, seconds, pause)
    for caller in everyone:
        caller.socket.close()
    return answers


def _run(
    selector: selectors.BaseSelector,
    everyone: Sequence[_Caller],
    answers: Answers,
    seconds: float,
    pause: float,
) -> None:
    start = now = time.monotonic()
    waiting = deque((now, caller) for caller in everyone)
    while now < start + seconds:
        while waiting and waiting[0][0] <= now:
            waiting.popleft()[1].send()
        for key, _ in selector.select(timeout=0.01):
            status = _take(key.data, answers)
            if status == OK:
                key.data.send()
            elif status is not None:
                waiting.append((now + pause, key.data))
        now = time.monotonic()
    answers.seconds = now - start


def _take(caller: _Caller, answers: Answers) -> int | None:
    answer = caller.answer()
    if answer is None:
        return None
    status, head, body = answer
    answers.counts[status] += 1
    answers.latencies.append(time.monotonic() - caller.sent_at)
    answers.heads[status], answers.bodies[status] = head, body
    return status
