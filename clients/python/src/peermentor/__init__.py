"""The Python client of peermentor.

`Client` and `AsyncClient` call the service. They return values such as `Assignment`. When a call
fails, they raise a `PeermentorError`. `peermentor.v1` has the generated messages and stubs that
they use. Everything else in this package is private.
"""

from peermentor._arguments import UNSET, Unset
from peermentor._async import AsyncListing
from peermentor._async_client import AsyncAssignments, AsyncClient, AsyncTemplates
from peermentor._client import Assignments, Client, Templates
from peermentor._errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PeermentorError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Untrusted,
)
from peermentor._models import (
    Assignment,
    AssignmentStatus,
    AssignmentStatusName,
    AssignmentSummary,
    Contact,
    ErrorReason,
    Occurrence,
    RecurringTemplate,
)
from peermentor._paging import Page
from peermentor._sync import Listing
from peermentor._version import __version__

__all__ = [
    "UNSET",
    "Aborted",
    "AlreadyExists",
    "Assignment",
    "AssignmentStatus",
    "AssignmentStatusName",
    "AssignmentSummary",
    "Assignments",
    "AsyncAssignments",
    "AsyncClient",
    "AsyncListing",
    "AsyncTemplates",
    "Cancelled",
    "Client",
    "Contact",
    "DeadlineExceeded",
    "ErrorReason",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "Listing",
    "NotFound",
    "Occurrence",
    "OutOfRange",
    "Page",
    "PeermentorError",
    "PermissionDenied",
    "RecurringTemplate",
    "ResourceExhausted",
    "Templates",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unset",
    "Untrusted",
    "__version__",
]

# They live here: so tracebacks, documentation and pickles name them, wherever they are written.
for _name in __all__:
    if isinstance(_public := globals()[_name], type):
        _public.__module__ = __name__
del _name, _public
