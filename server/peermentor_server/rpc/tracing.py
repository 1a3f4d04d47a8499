"""A span around each call, which its statements and its lines of the log then belong to."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from peermentor_server.rpc.calls import REQUEST_ID, Behaviour, Handler

if TYPE_CHECKING:
    # With all that it needs it is there only where traces are sent.
    from peermentor_server.telemetry.traces import Traces

Surround: TypeAlias = Callable[[str, Handler], Handler]


def traced(surround: Surround, traces: "Traces") -> Surround:
    """Return what surrounds the handler of a method as this does, and that with a span."""

    def surrounded(method: str, handler: Handler) -> Handler:
        inner = surround(method, handler)
        answer: Behaviour = inner.unary_unary  # type: ignore[assignment]

        async def answer_traced(request: Any, context: Any) -> Any:
            with traces.call(method, context.invocation_metadata() or ()) as span:
                # Unless it ends otherwise, its caller has gone.
                code = "CANCELLED"
                try:
                    answered = await answer(request, context)
                    code = "OK"
                except grpc.aio.AbortError:
                    code = context.code().name
                    raise
                finally:
                    span.tell(code, dict(context.trailing_metadata() or ()).get(REQUEST_ID, ""))
            return answered

        return grpc.unary_unary_rpc_method_handler(
            answer_traced,
            request_deserializer=inner.request_deserializer,
            response_serializer=inner.response_serializer,
        )

    return surrounded
