"""Describes the API from the protos and their comments: `python -m describe` does it."""
