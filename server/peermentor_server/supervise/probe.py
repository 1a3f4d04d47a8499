"""Asks a service that runs on this machine, by its gateway."""

import http.client
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus

from peermentor_server.settings import Settings

_PATIENCE_S = 2


def is_ready(settings: Settings) -> bool:
    """Tell whether the service with these settings can answer calls."""
    return status(f"{settings.rest_url}/readyz") == HTTPStatus.OK


def status(url: str) -> int | None:
    """Return the status of the answer; None if there is none."""
    # A proxy of the environment is for calls to elsewhere. The certificate is our own, of
    # whatever name; to load whom this machine trusts would take longer than the call.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=_PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None
