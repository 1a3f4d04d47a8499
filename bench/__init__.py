"""Measures the service beside what one would run instead. See README.md in this folder."""
