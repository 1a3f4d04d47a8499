"""Health and reflection, whose streams last until told otherwise and take nothing from calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from peermentor_server.access.gate import Gate
from peermentor_server.rpc.calls import Handler, tolerant
from peermentor_server.rpc.errors import STATUS_OF
from peermentor_server.rules.errors import DomainError, MalformedRequest

MAX_STREAMS = 100
"""How many there may be at a time: each takes memory, and none a thread."""
MAX_OF_STRANGERS = 50
"""How many of these callers without valid credentials may have, where they need some."""


class Streams:
    """Surrounds the RPCs of other services than our own."""

    def __init__(self, gate: Gate) -> None:
        """Health is for everybody, reflection for whom the gate lets in."""
        self._gate = gate
        self._open: set[asyncio.Task[Any] | None] = set()
        self._of_strangers = 0
        self._ended = False

    def end(self) -> None:
        """End the streams that are open."""
        self._ended = True
        for stream in self._open:
            if stream is not None:
                stream.cancel()

    def surrounded(self, _method: str, handler: Handler) -> Handler:
        """Return the handler of one RPC, a call or a stream."""
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._called(handler.unary_unary),
                request_deserializer=tolerant(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._watched(handler.unary_stream),
                request_deserializer=tolerant(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        read: Any = handler.request_deserializer
        return grpc.stream_stream_rpc_method_handler(
            self._conversed(handler.stream_stream),
            # An empty message, which reflection answers with an error.
            request_deserializer=tolerant(read, otherwise=lambda: read(b"")),
            response_serializer=handler.response_serializer,
        )

    def _called(self, behaviour: Any) -> Any:
        async def call(request: Any, context: Any) -> Any:
            await _refuse_malformed(request, context)
            try:
                return await behaviour(request, context)
            except NotImplementedError:
                # gRPC would tell how it found out.
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented")

        return call

    def _watched(self, behaviour: Any) -> Any:
        async def watch(request: Any, context: Any) -> None:
            await _refuse_malformed(request, context)
            try:
                self._gate.identify(context.invocation_metadata() or ())
                strangers = 0
            except DomainError:
                strangers = 1
            async with self._opened(context, strangers):
                await behaviour(request, context)

        return watch

    def _conversed(self, behaviour: Any) -> Any:
        async def converse(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            try:
                self._gate.identify(context.invocation_metadata() or ())
            except DomainError as refusal:
                await context.abort(STATUS_OF[refusal.kind], refusal.message)
            async with self._opened(context):
                async for answer in behaviour(requests, context):
                    yield answer

        return converse

    @asynccontextmanager
    async def _opened(self, context: Any, strangers: int = 0) -> AsyncIterator[None]:
        are_many = strangers and self._of_strangers >= MAX_OF_STRANGERS
        if are_many or len(self._open) >= MAX_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams at once")
        stream = asyncio.current_task()
        self._open.add(stream)
        self._of_strangers += strangers
        try:
            yield
        except asyncio.CancelledError:
            if self._ended:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server leaves")
            raise
        finally:
            self._open.discard(stream)
            self._of_strangers -= strangers


async def _refuse_malformed(request: Any, context: Any) -> None:
    if isinstance(request, MalformedRequest):
        await context.abort(STATUS_OF[request.kind], request.message)
