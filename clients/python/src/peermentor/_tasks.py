"""What waiting is where calls are tasks of an event loop. `_threads` has the same for threads."""

import asyncio
import inspect
import threading

import grpc
import grpc.aio

from peermentor import _options
from peermentor._connection import Setup, check_fork
from peermentor._options import AsyncToken, Headers


class Channels:
    """The channels of a client: one for each event loop, opened when it is needed."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._open: dict[asyncio.AbstractEventLoop, grpc.aio.Channel] = {}

    def own(self) -> grpc.aio.Channel:
        """Return the channel of this event loop."""
        check_fork(grpc.aio)
        loop = asyncio.get_running_loop()
        channel = self._open.get(loop)
        if channel is None:
            channel = self._new()
            # A channel holds its loop, and nothing else would let go of those that are over.
            for over in [each for each in list(self._open) if each.is_closed()]:
                self._open.pop(over, None)
            self._open[loop] = channel
        return channel

    def take(self) -> grpc.aio.Channel | None:
        """Let go of the channel of this event loop, and return it if there is one."""
        return self._open.pop(asyncio.get_running_loop(), None)

    def _new(self) -> grpc.aio.Channel:
        target, options = self._setup.place.target, self._setup.channel_options
        if self._setup.certificates is None:
            return grpc.aio.insecure_channel(target, options)
        credentials = grpc.ssl_channel_credentials(*self._setup.certificates)
        return grpc.aio.secure_channel(target, credentials, options)


def usable(token: AsyncToken) -> AsyncToken:
    """Return a token that a call can wait for."""
    return token


async def bearer(token: AsyncToken) -> Headers:
    """Return the header of a token, if there is one; wait for it if its function has to."""
    if token is None:
        return ()
    given = token() if callable(token) else token
    return _options.bearer(await given if inspect.isawaitable(given) else given)


async def pause(seconds: float, _closing: threading.Event) -> None:
    """Wait; closing the client does not end it."""
    await asyncio.sleep(seconds)


def ended_alone(error: BaseException) -> bool:
    """Tell whether a call ended alone, such as by close(), and not along with its caller's task."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return isinstance(error, Exception)
