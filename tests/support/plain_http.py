"""HTTP without TLS."""

import ssl

# For `verify` of httpx. Trusts nobody: to load whom this machine trusts takes 30 ms of each client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
