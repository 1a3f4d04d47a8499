"""Version 1 of the API: generated from protos/peermentor/v1, never edited."""
