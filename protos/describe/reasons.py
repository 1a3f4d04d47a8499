"""The reasons of errors: the code of each, the words for it, and which RPCs may give it."""

import re
from collections.abc import Sequence

from google.protobuf.descriptor import MethodDescriptor

from describe.options import find_enum

# As the transcoder has it, but for ABORTED, which the gateway tells from ALREADY_EXISTS.
STATUS_OF = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 412,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
PREFIX = "ERROR_REASON_"
# As comments of RPCs name it: NOT_FOUND (ASSIGNMENT_NOT_FOUND).
REASON = re.compile(r"[A-Z_]+ \(([A-Z_]+)\)")


class Reasons:
    """Those of error_reason.proto, without their prefix."""

    def __init__(self, methods: Sequence[MethodDescriptor], comments: dict[str, str]) -> None:
        enum = find_enum("ErrorReason")
        self.told: dict[str, tuple[str, str]] = {}
        """Of each its code, and the words for it."""
        for value in enum.values:
            if value.number:
                code, _, words = comments[f"{enum.full_name}.{value.name}"].partition(": ")
                self.told[value.name.removeprefix(PREFIX)] = (code, words)
        self._of = {
            method.full_name: REASON.findall(comments[method.full_name]) for method in methods
        }
        named = {reason for each in self._of.values() for reason in each}
        self.general = [reason for reason in self.told if reason not in named]
        """Those that no RPC names: each may give them."""

    def of(self, method: MethodDescriptor) -> list[str]:
        """Return those that the comment of an RPC names."""
        return self._of[method.full_name]
