"""The client package of peermentor.

`peermentor.v1` holds the generated messages and stubs.
"""
