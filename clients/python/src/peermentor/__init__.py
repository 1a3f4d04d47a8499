"""The Python client of peermentor.

`Client` and `AsyncClient` call the service; `models` are what they give, `errors` what they
raise. `peermentor.v1` holds the generated messages and stubs underneath.
"""

from peermentor import models
from peermentor._async import AsyncListing
from peermentor._sync import Listing
from peermentor._version import __version__
from peermentor.async_client import AsyncClient
from peermentor.client import Client
from peermentor.errors import (
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
from peermentor.models import *  # noqa: F403 - every model, as its __all__ says
from peermentor.paging import Page
from peermentor.requests import UNSET, Unset

__all__ = [
    "UNSET",
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncListing",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "Listing",
    "NotFound",
    "OutOfRange",
    "Page",
    "PeermentorError",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unset",
    "Untrusted",
    "__version__",
]
__all__ += models.__all__
