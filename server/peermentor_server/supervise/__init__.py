"""The processes of the service: workers and gateway, started, watched and replaced."""
