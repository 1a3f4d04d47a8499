"""Both clients under one hand, and servers that answer by a script."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from peermentor import AsyncClient, AsyncListing, Client

Behaviour = Callable[[bytes, grpc.ServicerContext], Message]


class Awaited:
    """An AsyncClient, or a part of one, used as if it were the other: each call is awaited."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        return self._settle(getattr(self._target, name))

    def __call__(self, *arguments: Any, **fields: Any) -> Any:
        return self._settle(self._target(*arguments, **fields))

    def __iter__(self) -> Iterator[Any]:
        iterator: AsyncIterator[Any] = aiter(self._target)
        while (item := self._loop.run_until_complete(anext(iterator, self))) is not self:
            yield item

    def _settle(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._loop.run_until_complete(value)
        wrapped = inspect.ismethod(value) or inspect.isasyncgen(value)
        if wrapped or isinstance(value, AsyncListing) or hasattr(value, "_connection"):
            return Awaited(value, self._loop)
        return value


@contextmanager
def opened(kind: str, address: Any = None, **options: Any) -> Iterator[Any]:
    """Open a `sync` or an `async` client, which a test uses in the same way."""
    if kind == "sync":
        with Client(address, **options) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        awaited = Awaited(AsyncClient(address, **options), runner.get_loop())
        yield awaited
        awaited.close()


@contextmanager
def scripted_server(behaviour: Behaviour, **options: Any) -> Iterator[str]:
    """Serve every method by one function of the bytes of a request; give the address."""
    handler: Any = grpc.unary_unary_rpc_method_handler(
        behaviour, response_serializer=lambda message: message.SerializeToString()
    )

    class Everything(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return handler

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Everything()])
    credentials = options.get("credentials")
    if credentials is None:
        port = server.add_insecure_port(f"127.0.0.1:{options.get('port', 0)}")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def fail(context: grpc.ServicerContext, code: grpc.StatusCode, *details: Message) -> None:
    """End the call with a status and google.rpc details."""
    packed = [AnyMessage() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    status = Status(code=code.value[0], message="scripted", details=packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "scripted")
