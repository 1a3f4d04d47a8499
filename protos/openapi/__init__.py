"""Writes docs/openapi.json from the protos and their comments: `python -m openapi` does it."""
