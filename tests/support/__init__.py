"""Helpers of the tests: real servers, real databases, and a clock that can be set."""
