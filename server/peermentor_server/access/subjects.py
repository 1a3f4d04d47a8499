"""Whom client certificates stand for: a TOML file says it, by their subjects.

    ["CN=nightly job,O=City Mentors"]
    permission = "read"
    orgs = ["org_03"]

With `all_orgs = true` in place of `orgs`, it is all organisations. The gateway has found out by
then that a certificate is one of an authority that is trusted, and that its owner has its key.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from peermentor_server.failures import CommandFailed
from peermentor_server.rules import texts
from peermentor_server.rules.principals import NAMES, Principal, Wall

# From the gateway, which lets nobody else say it: the subject, as RFC 2253 writes it.
CERTIFICATE = "x-peermentor-certificate"
_VARIABLE = "PEERMENTOR_TLS_CLIENT_SUBJECTS"
_log = structlog.get_logger("peermentor_server")


class Unusable(CommandFailed):
    """What is wrong with the file."""


def read(file: Path) -> Mapping[str, Principal]:
    """Return who is whom by subject, or raise Unusable."""
    try:
        listed = tomllib.loads(file.read_text("utf-8"))
        return {subject: _principal(subject, entry) for subject, entry in listed.items()}
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
    except UnicodeDecodeError:
        reason = "is no text in UTF-8"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise Unusable(f"{_VARIABLE}: {file}: {reason}")


def _principal(subject: str, entry: Any) -> Principal:
    known = {"permission", "orgs", "all_orgs"}
    if not isinstance(entry, dict) or not entry.keys() <= known:
        raise ValueError(f'["{subject}"] can have permission, and orgs or all_orgs')
    permission = NAMES.get(str(entry.get("permission")))
    if permission is None:
        raise ValueError(f'["{subject}"] permission must be {", ".join(NAMES)}')
    return Principal(f"certificate:{subject}", permission, Wall(_organizations(subject, entry)))


def _organizations(subject: str, entry: Mapping[str, Any]) -> frozenset[str] | None:
    orgs, everywhere = entry.get("orgs"), entry.get("all_orgs", False)
    if orgs is None and everywhere is True:
        return None
    if everywhere is False and isinstance(orgs, list) and orgs and all(map(_is_id, orgs)):
        return frozenset(orgs)
    raise ValueError(f'["{subject}"] must have orgs, a list of ids, or all_orgs = true')


def _is_id(value: object) -> bool:
    return isinstance(value, str) and texts.identifier_problem(value) is None


class Subjects:
    """What stands in the file, which is read again and again."""

    def __init__(self, file: Path) -> None:
        """Read it, or raise Unusable."""
        self._file, self._told = file, ""
        self._principals = read(file)

    def find(self, subject: str) -> Principal | None:
        """Return whom a certificate stands for; None for nobody."""
        return self._principals.get(subject)

    def update(self) -> None:
        """Read the file. While it cannot be used, what was read last stays."""
        try:
            self._principals, before, self._told = read(self._file), self._principals, ""
            if before and not self._principals:
                # By mistake, as like as not: every call by a certificate is refused from now on.
                _log.warning("no subjects of certificates left", file=str(self._file))
        except Unusable as problem:
            if str(problem) != self._told:
                self._told = str(problem)
                _log.error("subjects of certificates not read", reason=self._told)
