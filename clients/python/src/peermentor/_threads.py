"""What waiting is where calls keep a thread. `_tasks` has the same for event loops."""

import inspect
import os
import threading

import grpc

from peermentor import _options
from peermentor._connection import Setup, check_fork
from peermentor._options import AsyncToken, Headers, Token


class Channels:
    """The channels of a client: one for each process, opened when it is needed."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._open: dict[int, grpc.Channel] = {}

    def own(self) -> grpc.Channel:
        """Return the channel of this process."""
        check_fork(grpc)
        channel = self._open.get(os.getpid())
        if channel is None:
            opened = self._new()
            # Should another thread have been quicker, its channel counts.
            channel = self._open.setdefault(os.getpid(), opened)
            if channel is not opened:
                opened.close()
        return channel

    def take(self) -> grpc.Channel | None:
        """Let go of the channel of this process, and return it if there is one."""
        return self._open.pop(os.getpid(), None)

    def _new(self) -> grpc.Channel:
        target, options = self._setup.place.target, self._setup.channel_options
        if self._setup.certificates is None:
            return grpc.insecure_channel(target, options)
        credentials = grpc.ssl_channel_credentials(*self._setup.certificates)
        return grpc.secure_channel(target, credentials, options)


def usable(token: Token) -> Token:
    """Return a token that a call need not wait for; raise a TypeError for any other."""
    if inspect.iscoroutinefunction(token):
        raise TypeError("token: a plain function is needed, not a coroutine function")
    return token


def bearer(token: AsyncToken) -> Headers:
    """Return the header of a token, if there is one."""
    if token is None:
        return ()
    return _options.bearer(token() if callable(token) else token)


def pause(seconds: float, closing: threading.Event) -> None:
    """Wait, until the client is closed at most."""
    closing.wait(seconds)


def ended_alone(error: BaseException) -> bool:
    """Tell whether a call ended alone, such as by close(), and not along with its program."""
    return isinstance(error, Exception)
