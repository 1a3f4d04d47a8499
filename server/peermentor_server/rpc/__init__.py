"""Calls: from the port to the services and back."""
