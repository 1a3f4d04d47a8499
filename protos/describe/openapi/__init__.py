"""REST, in OpenAPI."""
