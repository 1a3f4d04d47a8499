# The version of client and server, which are released together; nothing else says it.
# `make release VERSION=` sets it.
__version__ = "0.1.0"
