"""What a call can raise, and how what gRPC raised becomes that."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

_DETAILS = "grpc-status-details-bin"
_REQUEST_ID = "x-request-id"
# What the versions of gRPC say of certificates, of names in them, and of servers without TLS.
_TLS_FAILED = re.compile("handshake failed|security handshaker|Peer name|Verification Check")
_MessageT = TypeVar("_MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One refused field: its path in the request, and what is wrong with it."""

    field: str
    description: str


class PeermentorError(Exception):
    """A call that failed: one tree, by the codes of gRPC.

        PeermentorError
        ├── InvalidArgument       fields are wrong; `field_violations` lists all of them
        ├── OutOfRange            a position past the end
        ├── NotFound              there is nothing with this id
        ├── AlreadyExists         it exists already, or the request id was used for another request
        ├── FailedPrecondition    not in the state that the call needs
        ├── Aborted               another caller was faster; start again
        ├── PermissionDenied      the caller may not do this
        ├── Unauthenticated       the caller is not known; check the token
        ├── ResourceExhausted     too many calls; `retry_after` may say when to try again
        ├── Cancelled             cancelled by the caller, such as by `close()`
        ├── DeadlineExceeded      no answer within `timeout`; the call may still have succeeded
        ├── Unavailable           no server answers, or its database does not; try again
        │   └── Untrusted         the TLS handshake failed; trying again does not help
        ├── Unimplemented         the server does not know this call; it is older than this package
        └── Internal              a fault of the server (INTERNAL, UNKNOWN, DATA_LOSS)

    Branch on the class and on `reason`, never on the text.
    """

    code: grpc.StatusCode
    """The status code of gRPC."""
    reason: str
    """Why, as a stable name such as `ASSIGNMENT_NOT_FOUND`; empty when the server named none."""
    message: str
    """Why, for people."""
    request_id: str
    """The id of the call in the server's log; empty when no server answered."""
    retry_after: float | None
    """The seconds after which the server asks to try again; None if it does not."""
    field_violations: tuple[FieldViolation, ...]
    """All wrong fields, when the error is an InvalidArgument."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.reason = self.request_id = ""
        self.retry_after = None
        self.field_violations = ()

    def __str__(self) -> str:
        """The message, with what finds the call in the server's log."""
        notes = [self.reason, self.request_id and f"request {self.request_id}"]
        return self.message + "".join(f" [{note}]" for note in notes if note)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross processes."""
        return type(self), (self.code, self.message), self.__dict__


class InvalidArgument(PeermentorError):
    """Fields are wrong; `field_violations` lists all of them."""


class OutOfRange(PeermentorError):
    """A position past the end."""


class NotFound(PeermentorError):
    """There is nothing with this id."""


class AlreadyExists(PeermentorError):
    """It exists already, or the request id was used for another request."""


class FailedPrecondition(PeermentorError):
    """Not in the state that the call needs."""


class Aborted(PeermentorError):
    """Another caller was faster; start again."""


class PermissionDenied(PeermentorError):
    """The caller may not do this."""


class Unauthenticated(PeermentorError):
    """The caller is not known."""


class ResourceExhausted(PeermentorError):
    """Too many calls; `retry_after` may say when to try again."""


class Cancelled(PeermentorError):
    """Cancelled by the caller."""


class DeadlineExceeded(PeermentorError):
    """No answer within `timeout`; the call may still have succeeded."""


class Unavailable(PeermentorError):
    """No server answers, or its database does not; try again."""


class Untrusted(Unavailable):
    """The TLS handshake failed, such as by a wrong certificate; trying again does not help."""


class Unimplemented(PeermentorError):
    """The server does not know this call; it is older than this package."""


class Internal(PeermentorError):
    """A fault of the server."""


# By their names: NOT_FOUND is NotFound. UNKNOWN and DATA_LOSS have no class of their own.
CLASS_OF: dict[grpc.StatusCode, type[PeermentorError]] = {
    code: globals().get(code.name.title().replace("_", ""), Internal)
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}


def from_rpc(raised: Any, address: str, proxy: str) -> PeermentorError:
    """Return the error for what gRPC raised, `grpc.RpcError` or `grpc.aio.AioRpcError`.

    `proxy` is the variable of the environment that names one, or empty.
    """
    trailers: dict[str, Any] = dict(raised.trailing_metadata() or ())
    code, text, details = raised.code(), raised.details() or "", trailers.get(_DETAILS, b"")
    info, retry = _unpack(details, ErrorInfo), _unpack(details, RetryInfo)
    kind = CLASS_OF[code]
    if not trailers.get(_REQUEST_ID) and not details:
        if kind is Unavailable and _TLS_FAILED.search(text):
            kind = Untrusted
        text = _from_no_server(kind, text, address, proxy)
    error = kind(code, text or code.name)
    error.reason = info.reason
    error.request_id = trailers.get(_REQUEST_ID, "") or info.metadata.get("request_id", "")
    if retry.HasField("retry_delay"):
        error.retry_after = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
    error.field_violations = tuple(
        FieldViolation(each.field, each.description)
        for each in _unpack(details, BadRequest).field_violations
    )
    return error


def _unpack(details: bytes, kind: type[_MessageT]) -> _MessageT:
    found = kind()
    try:
        any(detail.Unpack(found) for detail in Status.FromString(details).details)
    except DecodeError:
        return kind()  # the error counts, though its details cannot be read
    return found


def _from_no_server(kind: type[PeermentorError], text: str, address: str, proxy: str) -> str:
    proxy = proxy and f", and the proxy that `{proxy}` in the environment names"
    advice = {
        Unavailable: f"no answer from {address}: check that the server runs and listens there, "
        f"that the address is right (the argument `address`, or PEERMENTOR_ADDRESS), that both "
        f"sides use TLS or neither does, and that a server which asks for a certificate is shown "
        f"one that it trusts{proxy} ({text})",
        Untrusted: f"no TLS with {address}: check that its certificate is for this name (or give "
        f"`server_name`), is valid today, and comes from an authority that is trusted here (or "
        f"give `ca_certificate`), that a `client_certificate` fits its `client_key`, and that the "
        f"server uses TLS at all{proxy} ({text})",
        DeadlineExceeded: f"no answer from {address} in time: check it{proxy}, or give a longer "
        f"`timeout`",
    }
    return advice.get(kind, text)
