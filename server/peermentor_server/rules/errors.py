"""What can go wrong, in the words of the domain.

    DomainError
    ├── InvalidFields         INVALID_ARGUMENT  fields that are refused, all at once
    ├── MalformedRequest      INVALID_ARGUMENT  bytes that are no message
    ├── NotFound              NOT_FOUND
    │   ├── AssignmentNotFound
    │   └── TemplateNotFound
    ├── CredentialsMissing    UNAUTHENTICATED
    ├── CredentialsInvalid    UNAUTHENTICATED   nothing more is told of why
    ├── TooManyAttempts       RESOURCE_EXHAUSTED so many of either that this address has to wait
    ├── PermissionMissing     PERMISSION_DENIED the credentials do not allow this method
    ├── OrganizationForbidden PERMISSION_DENIED nor this organisation
    ├── RequestIdReused       ALREADY_EXISTS    an id that has created something else
    ├── EtagMismatch          ABORTED           somebody has changed it since the caller looked
    ├── Overloaded            RESOURCE_EXHAUSTED too many calls at once
    ├── DeadlineExceeded      DEADLINE_EXCEEDED the caller's own deadline has passed
    ├── DatabaseUnavailable   UNAVAILABLE       try again
    └── InternalFault         INTERNAL          a fault of ours; the text stays in the log

`rpc/errors` turns them into gRPC statuses. Each reason stands in error_reason.proto too.
Messages reach callers: they hold no SQL, and of what a caller sent only ids and names, such as
that of an unknown part of a recurrence rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from peermentor_server.rules import texts

# The text of an error travels twice in the trailers of an answer, for which gRPC clients
# have room for 8 KiB; all violations stand in the details.
_VIOLATIONS_IN_MESSAGE = 5


class Kind(Enum):
    """What a caller can do about an error; one gRPC status code each."""

    INVALID_ARGUMENT = auto()
    UNAUTHENTICATED = auto()
    PERMISSION_DENIED = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()
    ABORTED = auto()
    RESOURCE_EXHAUSTED = auto()
    DEADLINE_EXCEEDED = auto()
    UNAVAILABLE = auto()
    INTERNAL = auto()


class DomainError(Exception):
    """A call that cannot be answered, with a message for the caller."""

    kind: ClassVar[Kind]
    reason: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One refused field: its path in the request, and what is wrong with it."""

    field: str
    description: str


class InvalidFields(DomainError):
    """Every field of a request that is refused."""

    kind = Kind.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        parts = [f"{v.field}: {v.description}" for v in violations[:_VIOLATIONS_IN_MESSAGE]]
        if len(violations) > len(parts):
            parts.append(f"and {len(violations) - len(parts)} more")
        super().__init__("; ".join(parts))
        self.violations = tuple(violations)


class MalformedRequest(DomainError):
    """The bytes of a request are no message of the expected type."""

    kind = Kind.INVALID_ARGUMENT
    reason = "MALFORMED_REQUEST"

    def __init__(self) -> None:
        super().__init__("the request is not a message of the expected type")


class CredentialsMissing(DomainError):
    """A call without credentials, where some are required."""

    kind = Kind.UNAUTHENTICATED
    reason = "CREDENTIALS_MISSING"

    def __init__(self) -> None:
        super().__init__("credentials are required: authorization: Bearer KEY")


class CredentialsInvalid(DomainError):
    """Credentials that are unknown, malformed, expired or revoked: which, nobody is told."""

    kind = Kind.UNAUTHENTICATED
    reason = "CREDENTIALS_INVALID"

    def __init__(self) -> None:
        super().__init__("the credentials are not valid")


class TooManyAttempts(DomainError):
    """An address has called without valid credentials again and again."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_ATTEMPTS"
    retry_after_s = 60

    def __init__(self) -> None:
        super().__init__("too many calls without valid credentials came from this address")


class PermissionMissing(DomainError):
    """Credentials that do not allow this method."""

    kind = Kind.PERMISSION_DENIED
    reason = "PERMISSION_MISSING"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the credentials lack the permission: {needed}")


class OrganizationForbidden(DomainError):
    """An organisation that the credentials are not for."""

    kind = Kind.PERMISSION_DENIED
    reason = "ORGANIZATION_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__("the credentials are not for this organization")


class NotFound(DomainError):
    """There is nothing of the id that was asked for.

    Without an id: what a create had made is gone by the time that it is repeated, deleted or moved
    to where its maker does not see it.
    """

    kind = Kind.NOT_FOUND
    resource: ClassVar[str]

    def __init__(self, given_id: str | None = None) -> None:
        if given_id is None:
            super().__init__(f"the {self.resource} that this request_id created is there no more")
        else:
            super().__init__(f"there is no {self.resource} {texts.shown_id(given_id)}")


class AssignmentNotFound(NotFound):
    """There is no such assignment."""

    reason = "ASSIGNMENT_NOT_FOUND"
    resource = "assignment"


class TemplateNotFound(NotFound):
    """There is no such template."""

    reason = "TEMPLATE_NOT_FOUND"
    resource = "template"


class RequestIdReused(DomainError):
    """The id of a request that created something of other content."""

    kind = Kind.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"

    def __init__(self) -> None:
        super().__init__("this request_id has been used with other content; choose a new one")


class EtagMismatch(DomainError):
    """A resource is in another state than its caller expects."""

    kind = Kind.ABORTED
    reason = "ETAG_MISMATCH"

    def __init__(self) -> None:
        super().__init__("somebody has changed it since this etag was current; read it again")


class Overloaded(DomainError):
    """Too many calls at once; none of this one was done."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("too many calls at once; try again later")


class DeadlineExceeded(DomainError):
    """The caller's own deadline has passed. What was asked for may be stored all the same."""

    kind = Kind.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline of the call has passed")


class DatabaseUnavailable(DomainError):
    """The database did not answer, or broke the connection.

    `passing`: the same transaction may well succeed a moment later. `unknown_outcome`: this one
    may have been stored all the same; otherwise it is certain that it was not.
    """

    kind = Kind.UNAVAILABLE
    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, *, passing: bool = False, unknown_outcome: bool = False) -> None:
        super().__init__("the database does not answer; try again later")
        self.passing = passing
        self.unknown_outcome = unknown_outcome


class InternalFault(DomainError):
    """A fault of the server. `diagnosis` is for the log and holds no personal data."""

    kind = Kind.INTERNAL
    reason = "INTERNAL"

    def __init__(self, diagnosis: str) -> None:
        super().__init__("internal error")
        self.diagnosis = diagnosis


def diagnosis(error: DomainError) -> str:
    """Return what is behind an error, for those who run the service and not for callers."""
    known = error.diagnosis if isinstance(error, InternalFault) else error.__cause__
    return str(known or error)
