"""What surrounds every RPC: a request id, one access line, and errors that callers can use.

A DomainError becomes its gRPC status with google.rpc details. Anything else is INTERNAL
with the request id and no other text; what happened stands in the log under that id.
"""

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from peermentor_server import repeatable, retries
from peermentor_server.rules import ids
from peermentor_server.rules.errors import (
    DomainError,
    InternalFault,
    InvalidFields,
    Kind,
    MalformedRequest,
)
from peermentor_server.stalls import StallWatch
from peermentor_server.storage import deadlines, limits

ERROR_DOMAIN = "peermentor"
REQUEST_ID = "x-request-id"
OWN_METHODS = "/peermentor."
_MAX_REQUEST_ID_LENGTH = 64
# For callers who set none, as the gateway does not for REST: nobody waits for longer there.
DEFAULT_DEADLINE_S = 10.0
_YEAR_S = 365 * 24 * 3600

STATUS_OF = {
    Kind.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}

# Generic for type checkers alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]
_log = structlog.get_logger("peermentor_server")


class CallInterceptor(grpc.ServerInterceptor):
    """Surrounds the RPCs of our own services."""

    def __init__(self, stalls: StallWatch) -> None:
        self._stalls = stalls

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the method that is called."""
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith(OWN_METHODS):
            return handler  # type: ignore[no-any-return]
        return grpc.unary_unary_rpc_method_handler(
            _surrounded(handler.unary_unary, method, self._stalls, arrived=time.monotonic()),
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


class SideInterceptor(grpc.ServerInterceptor):
    """Runs the methods of one service on threads of its own.

    So health is answered while all other threads are busy, and reflection, whose streams hold
    a thread for as long as they last, takes none from calls or from health checks.
    """

    def __init__(self, service: str, pool: ThreadPoolExecutor) -> None:
        self._prefix = f"/{service}/"
        self._pool = pool
        self._contexts: set[grpc.ServicerContext] = set()

    def end_streams(self) -> None:
        """End the streams that are open: reflection and health watches last until told."""
        for context in list(self._contexts):
            context.cancel()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Mark the method that is called with the pool to run it on."""
        handler: Any = continuation(handler_call_details)
        if handler is None or not str(handler_call_details.method).startswith(self._prefix):
            return handler  # type: ignore[no-any-return]
        tolerant = _tolerant if not handler.request_streaming else _tolerant_in_stream
        handler = handler._replace(request_deserializer=tolerant(handler.request_deserializer))
        for shape in ("unary_unary", "unary_stream", "stream_stream"):
            if getattr(handler, shape) is not None:
                handler = handler._replace(**{shape: self._elsewhere(getattr(handler, shape))})
        return handler  # type: ignore[no-any-return]

    def _elsewhere(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        # Keeps the mark of a health watch too: it holds no thread while it waits.
        @functools.wraps(behaviour)
        def run(request: Any, context: grpc.ServicerContext, *callback: Any) -> Any:
            if isinstance(request, MalformedRequest):
                context.abort(STATUS_OF[request.kind], request.message)
            self._remember(context)
            return behaviour(request, context, *callback)

        run.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        return run

    def _remember(self, context: grpc.ServicerContext) -> None:
        self._contexts.add(context)
        if not context.add_callback(functools.partial(self._contexts.discard, context)):
            self._contexts.discard(context)  # It has ended already.


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Hand bytes that are no message on as an error, which the call then raises.

    An exception here would reach the caller as INTERNAL with a text of the library's.
    """

    def deserialize_or_note(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return MalformedRequest()

    return deserialize_or_note


def _tolerant_in_stream(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Take bytes that are no message for an empty one, which reflection answers with an error.

    An exception here would leave the thread that reads the stream waiting for ever.
    """

    def deserialize_or_empty(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return deserialize(b"")

    return deserialize_or_empty


def _surrounded(behaviour: Behaviour, method: str, stalls: StallWatch, arrived: float) -> Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        request_id = _request_id(context)
        structlog.contextvars.bind_contextvars(method=method, request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        stalls.let_pass()
        started = time.monotonic()
        left = _time_left(context, waited=started - arrived)
        if left <= 0:
            _leave_unstarted(context, waited=started - arrived)
        error: DomainError | None = None
        try:
            with deadlines.within(min(left, limits.CALL_S)):
                response = _run(behaviour, method, request, context)
        except DomainError as raised:
            error = raised
        except Exception as raised:
            error = InternalFault(type(raised).__name__)
            _log.exception("call failed", exc_info=raised)
        _log_call(error, time.monotonic() - started)
        if error is not None:
            _abort(context, error, request_id)
        return response

    return call


def _time_left(context: grpc.ServicerContext, waited: float) -> float:
    """Return for how many seconds the caller still waits for the answer."""
    if not context.is_active():
        return 0
    left = context.time_remaining()
    # Without a deadline, grpc says that there are years left.
    return left if left < _YEAR_S else DEFAULT_DEADLINE_S - waited


def _leave_unstarted(context: grpc.ServicerContext, waited: float) -> NoReturn:
    """End a call that found no thread in time: nobody would read its answer."""
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    _log.info("call", code=code.name, duration_ms=0.0, waited_ms=round(waited * 1000, 1))
    context.abort(code, "the deadline has passed before the call could begin")
    raise AssertionError("abort always raises")


def _run(behaviour: Behaviour, method: str, request: Any, context: grpc.ServicerContext) -> Any:
    if isinstance(request, MalformedRequest):
        raise request
    return retries.run(
        functools.partial(behaviour, request, context),
        repeatable=repeatable.is_repeatable(method, request, context.invocation_metadata()),
        is_awaited=context.is_active,
    )


def _request_id(context: grpc.ServicerContext) -> str:
    """Return the caller's request id if it can stand in a log line, or a new one."""
    for key, value in context.invocation_metadata():
        if key == REQUEST_ID and _is_printable(value):
            return str(value)
    return ids.new_request_id()


def _is_printable(value: str | bytes) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= _MAX_REQUEST_ID_LENGTH
        and value.isascii()
        and value.isprintable()
    )


_LEVELS = {grpc.StatusCode.UNAVAILABLE: "warning", grpc.StatusCode.INTERNAL: "error"}


def _log_call(error: DomainError | None, seconds: float) -> None:
    code = STATUS_OF[error.kind] if error else grpc.StatusCode.OK
    details = {}
    if error is not None:
        details["reason"] = error.reason
    if isinstance(error, InternalFault):
        details["diagnosis"] = error.diagnosis
    elif error is not None and error.__cause__ is not None:
        details["cause"] = str(error.__cause__)
    # What is ours to mend stands out; what callers got wrong does not.
    write = getattr(_log, _LEVELS.get(code, "info"))
    write("call", code=code.name, duration_ms=round(seconds * 1000, 1), **details)


def _abort(context: grpc.ServicerContext, error: DomainError, request_id: str) -> NoReturn:
    metadata = {"request_id": request_id} if error.kind is Kind.INTERNAL else {}
    details: list[Message] = [
        ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)
    ]
    if isinstance(error, InvalidFields):
        violations = [
            BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ]
        details.append(BadRequest(field_violations=violations))
    status = Status(
        code=STATUS_OF[error.kind].value[0], message=error.message, details=map(_pack, details)
    )
    context.set_trailing_metadata(
        (
            (REQUEST_ID, request_id),
            (GRPC_DETAILS_METADATA_KEY, status.SerializeToString()),
        )
    )
    context.abort(STATUS_OF[error.kind], error.message)
    raise AssertionError("abort always raises")


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
