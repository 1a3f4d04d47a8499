"""The certificate by which the service is known, and its key: two PEM files.

Whoever renews them replaces the files, one after the other. So a pair counts only once both
belong together; until then, and where a new one is of no use, the last good one is served.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog

from peermentor_server.failures import CommandFailed

_VARIABLES = ("PEERMENTOR_TLS_CERTIFICATE", "PEERMENTOR_TLS_KEY")

_log = structlog.get_logger("peermentor_server")


class Unusable(CommandFailed):
    """What is wrong with the files; never what stands in them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The contents of both files at one moment."""

    certificate: bytes
    key: bytes


def read(certificate: Path, key: Path) -> Pair:
    """Return a pair that can be served, or raise Unusable."""
    pair = Pair(*map(_content, (certificate, key), _VARIABLES))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"PEERMENTOR_TLS_KEY: {key} is not the key of {certificate}") from None
        if error.reason == "EE_KEY_TOO_SMALL":
            raise Unusable(f"PEERMENTOR_TLS_KEY: {key} is too short to be safe") from None
        raise Unusable(
            f"PEERMENTOR_TLS_CERTIFICATE: {certificate} and {key} are no certificate and its key, "
            "in PEM and without a password"
        ) from None
    except OSError as error:
        raise Unusable(f"PEERMENTOR_TLS_CERTIFICATE: {certificate}: {error.strerror}") from None
    if pair != Pair(*map(_content, (certificate, key), _VARIABLES)):
        # Replaced meanwhile: what was looked at is not what was read.
        return read(certificate, key)
    return pair


def end(pair: Pair) -> datetime:
    """Return until when the certificate is valid."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc


def read_authorities(file: Path | None) -> bytes | None:
    """Return the certificates of authorities that sign those of clients, or raise Unusable."""
    if file is None:
        return None
    content = _content(file, "PEERMENTOR_TLS_CLIENT_CA")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode())
    except (ssl.SSLError, ValueError):
        raise Unusable(f"PEERMENTOR_TLS_CLIENT_CA: {file} holds no certificates in PEM") from None
    return content


def _content(file: Path, variable: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unusable(f"{variable}: {file}: {(error.strerror or 'unreadable').lower()}") from None


class Watch:
    """Looks whether the files have become another pair, and says in the log what is wrong."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read them, or raise Unusable."""
        self._files = certificate, key
        self._seen = self._state()
        self.pair = read(certificate, key)
        self._told = ""

    @classmethod
    def of(cls, certificate: Path | None, key: Path | None) -> Self | None:
        """Watch both files, where there are any."""
        return cls(certificate, key) if certificate and key else None

    def renewed(self) -> Pair | None:
        """Return the new pair if there is one."""
        state = self._state()
        if state == self._seen:
            return None
        try:
            pair = read(*self._files)
        except Unusable as problem:
            # The other file may be about to follow: it is looked at again.
            if str(problem) != self._told:
                self._told = str(problem)
                _log.error("certificate not renewed", reason=self._told)
            return None
        self._seen, self._told = state, ""
        if pair == self.pair:
            return None
        self.pair = pair
        _log.info("certificate renewed")
        return pair

    def _state(self) -> list[object]:
        return [_state(file) for file in self._files]


def _state(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
