"""What surrounds every RPC: a request id, a lane, one access line, and errors callers can use.

A DomainError becomes its gRPC status with google.rpc details. Anything else is INTERNAL
with the request id and no other text; what happened stands in the log under that id.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from peermentor_server.access import gate
from peermentor_server.access.attempts import Attempts
from peermentor_server.access.gate import Gate
from peermentor_server.access.permissions import Requirement
from peermentor_server.rpc import access_log, audit, errors, retries
from peermentor_server.rpc.errors import STATUS_OF
from peermentor_server.rpc.lanes import AtOnce, Caller, Lane
from peermentor_server.rpc.stalls import StallWatch
from peermentor_server.rules import ids
from peermentor_server.rules.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DatabaseUnavailable,
    DeadlineExceeded,
    DomainError,
    InternalFault,
    MalformedRequest,
    Overloaded,
    TooManyAttempts,
)
from peermentor_server.rules.principals import NOBODY
from peermentor_server.services import idempotency
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.deadlines import Deadline, WouldWait
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

REQUEST_ID = "x-request-id"
# From the gateway: which connection of whom a call has come by, and how long, in milliseconds,
# it waits for this attempt before it asks another worker or gives up.
PEER = "x-peermentor-peer"
PATIENCE_MS = "x-envoy-expected-rq-timeout-ms"
_MAX_REQUEST_ID_LENGTH = 64
_MAX_DIGITS = 9

# Generic for type checkers alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, Any], Any]
ChooseLane: TypeAlias = Callable[[str, Any], Lane | AtOnce]
_log = structlog.get_logger("peermentor_server")


class Calls:
    """Surrounds the RPCs of our own services."""

    def __init__(
        self,
        gate: Gate,
        requirements: Mapping[str, Requirement],
        choose_lane: ChooseLane,
        stalls: StallWatch,
        timing: Timing = USUAL,
        *,
        behind_gateway: bool = False,
    ) -> None:
        """Let in whom the gate lets in, to the methods of which it is known what they require.

        The gateway says whose connection a call came by; nobody else is believed.
        """
        self._gate, self._requirements = gate, requirements
        self._choose_lane, self._stalls, self._timing = choose_lane, stalls, timing
        self._attempts = Attempts(timing)
        self._behind_gateway = behind_gateway

    def surrounded(self, method: str, handler: Handler) -> Handler:
        """Return the handler of one RPC, which is called once its request is there."""
        behaviour: Behaviour = handler.unary_unary  # type: ignore[assignment]
        requirement, measured = self._requirements[method], metrics.current.rpc(method)

        async def answer(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
            told = self._behind_gateway
            call = _Call(method, behaviour, request, context, self._timing, is_told_peer=told)
            began = measured.begin()
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            try:
                await self._let_in(call, requirement, context)
                answered = await self._answer(call, context)
                if call.headers:
                    await context.send_initial_metadata(call.headers)
                return answered
            finally:
                measured.end(began, call.code)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    async def _let_in(
        self,
        call: "_Call",
        requirement: Requirement,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> None:
        try:
            call.principal = self._gate.identify(call.invocation_metadata())
            if call.principal.subject:
                kind = call.principal.subject.partition(":")[0]
                metrics.current.credentials[kind].inc()
            call.require(requirement)
        except (CredentialsMissing, CredentialsInvalid) as refusal:
            await _abort(call, context, self._put_off(call, refusal))
        except DomainError as refusal:
            call.log(refusal)
            await _abort(call, context, refusal)

    def _put_off(self, call: "_Call", refusal: DomainError) -> DomainError:
        """Return what a caller without valid credentials is told, having logged it for a while."""
        kind = "missing" if isinstance(refusal, CredentialsMissing) else "invalid"
        metrics.current.credentials[kind].inc()
        excess = self._attempts.count(call.caller.address)
        if excess:
            refusal = TooManyAttempts()
            metrics.current.credentials["put_off"].inc()
        if excess <= 1:
            call.log(refusal)
        return refusal

    async def _answer(self, call: "_Call", context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            await self._stalls.let_pass()
            lane = self._choose_lane(call.method, call.request)
            return await lane.run(call)
        except asyncio.CancelledError:
            # The caller has gone, or asks another worker. From now on nothing is stored.
            call.give_up()
            call.code = grpc.StatusCode.CANCELLED.name
            raise
        except Overloaded as refusal:
            call.log(refusal)
            error = call.told(refusal)
        except DomainError as raised:
            error = call.told(raised)
        except Exception as raised:
            error = call.fault(raised)
        await _abort(call, context, error)
        raise AssertionError("abort always raises")


async def _abort(
    call: "_Call", context: "grpc.aio.ServicerContext[Any, Any]", error: DomainError
) -> None:
    trailers = (
        (REQUEST_ID, call.request_id),
        (GRPC_DETAILS_METADATA_KEY, errors.serialized(error, call.request_id)),
    )
    status = STATUS_OF[error.kind]
    call.code = status.name
    await context.abort(status, error.message, trailers)


class _Call:
    """One call. To services it stands for gRPC's context, of which they ask the metadata."""

    def __init__(
        self,
        method: str,
        behaviour: Behaviour,
        request: Any,
        context: "grpc.aio.ServicerContext[Any, Any]",
        timing: Timing,
        *,
        is_told_peer: bool,
    ) -> None:
        self.method, self.request = method, request
        self.principal = NOBODY
        self.code = grpc.StatusCode.OK.name
        # Of what the call has deleted, of which the answer does not say it.
        self.organization = ""
        self.headers: tuple[tuple[str, str], ...] = ()
        self._behaviour = behaviour
        # What is known of the call where it comes in is known in the threads that work for it.
        self._context = copy_context()
        self._arrived = time.monotonic()
        self._metadata = tuple(context.invocation_metadata() or ())
        given = dict(self._metadata)
        self.request_id = _request_id(given.get(REQUEST_ID))
        peer = given.get(PEER) if is_told_peer else None
        self.caller = Caller.of(str(peer or context.peer()))
        callers = _without_end(context.time_remaining())
        self._callers_deadline = Deadline(callers)
        self.deadline = Deadline(_patience(given.get(PATIENCE_MS), callers, timing))
        self._attempts = 0
        self._is_numbered = idempotency.CALL_HEADER in given

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what the caller sent beside the request, with a number of the call."""
        if not self._is_numbered:
            # Nobody repeats it but we ourselves.
            self._metadata += ((idempotency.CALL_HEADER, ids.new_request_id()),)
            self._is_numbered = True
        return self._metadata

    def require(self, requirement: Requirement) -> None:
        """Raise PermissionMissing or OrganizationForbidden where its caller may not make it."""
        gate.require(self.principal, requirement, self.request)

    def give_up(self) -> None:
        """Begin nothing more: nobody waits for the answer."""
        self.deadline.end()

    def run(self) -> Any:
        """Return the answer or raise a DomainError, in a thread."""
        return self._context.run(self._run)

    def _run(self) -> Any:
        deadlines.keep_to(self.deadline)
        try:
            answer = retries.run(self._attempt, self._is_repeatable)
        except DomainError as raised:
            self._log(raised)
            raise
        except WouldWait:
            raise
        except Exception as raised:
            fault = self.fault(raised)
            self._log(fault)
            raise fault from None
        self._log(None, answer)
        return answer

    def join(self) -> Any:
        """Return the answer as run() does, but once, and without a line: it may yet be undone."""
        return self._context.run(self._join)

    def _join(self) -> Any:
        deadlines.keep_to(self.deadline)
        return self._work()

    def _attempt(self) -> Any:
        self._attempts += 1
        return self._work()

    def _work(self) -> Any:
        if isinstance(self.request, MalformedRequest):
            raise self.request
        return self._behaviour(self.request, self)

    def _is_repeatable(self) -> bool:
        return idempotency.is_repeatable(self.method, self.request, self._metadata)

    def fault(self, raised: Exception) -> InternalFault:
        """Log what nobody foresaw; return what may be told of it."""
        names = {"method": self.method, "request_id": self.request_id}
        _log.exception("call failed", exc_info=raised, **names)
        return InternalFault(type(raised).__name__)

    def log(self, error: DomainError | None, answer: Any = None) -> None:
        """Write the line of the call, and that of what it has stored."""
        self._context.run(self._log, error, answer)

    def _log(self, error: DomainError | None, answer: Any = None) -> None:
        seconds = time.monotonic() - self._arrived
        told = None if error is None else self.told(error)
        access_log.write(self, seconds, told, self._attempts)
        if isinstance(answer, Message) and self.method not in idempotency.READS:
            audit.write(self, answer)

    def told(self, error: DomainError) -> DomainError:
        """Return what the caller is told: nothing else is wrong when they did not wait for it."""
        can_be_late = isinstance(error, Overloaded | DatabaseUnavailable)
        if not can_be_late or self._callers_deadline.remaining() > 0:
            return error
        late = DeadlineExceeded()
        late.__cause__ = error.__cause__
        return late


def tolerant(
    deserialize: Callable[[bytes], Any] | None, otherwise: Callable[[], Any] = MalformedRequest
) -> Callable[[bytes], Any]:
    """For bytes that are no message, return an error in its place, which the call then raises.

    An exception here would reach the caller as INTERNAL with a text of the library's.
    """

    def deserialize_or_note(data: bytes) -> Any:
        try:
            return deserialize(data) if deserialize else data
        except (DecodeError, ValueError):
            return otherwise()

    return deserialize_or_note


def _request_id(given: str | bytes | None) -> str:
    """Return the caller's request id if it can stand in a log line, or a new one."""
    return given if isinstance(given, str) and _is_printable(given) else ids.new_request_id()


def _is_printable(value: str) -> bool:
    return 1 <= len(value) <= _MAX_REQUEST_ID_LENGTH and value.isascii() and value.isprintable()


def _without_end(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _patience(gateway_ms: str | bytes | None, callers: float, timing: Timing) -> float:
    """Return how many seconds a call may take: as long as its caller waits, up to a limit."""
    patience = min(timing.call_s, callers)
    # Without a gateway, callers can send it: anything, and to their own harm alone.
    if isinstance(gateway_ms, str) and gateway_ms.isdecimal() and len(gateway_ms) <= _MAX_DIGITS:
        return min(patience, int(gateway_ms) / 1000 - timing.way_back_s)
    return patience
