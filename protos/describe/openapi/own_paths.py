"""What the gateway answers by itself, and no RPC does."""

from typing import Any

from describe.openapi.errors import EVERY_CALL
from describe.openapi.headers import headers_of
from describe.openapi.schemas import narrowed, reference
from describe.options import Schema

TAG = {"name": "Gateway", "description": "What the gateway answers by itself, to everybody."}
SCHEMAS: dict[str, Schema] = {
    "Health": {
        "type": "object",
        "description": "Whether something serves.",
        "properties": {"status": {"type": "string", "enum": ["SERVING", "NOT_SERVING"]}},
        "required": ["status"],
    },
    "Description": {
        "type": "object",
        "description": "What you read.",
        "properties": {"openapi": {"type": "string"}},
        "required": ["openapi"],
    },
}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {
        str(each.status): {"$ref": f"#/components/responses/{each.name}"}
        for each in EVERY_CALL
        if each.status in statuses
    }


# What the gateway refuses before it looks at the path.
REFUSED = _refusals(400, 408, 413, 426, 431, 501)


def _get(name: str, summary: str, description: str, answers: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "tags": [TAG["name"]],
            "summary": summary,
            "description": description,
            # None is needed.
            "security": [{}],
            "responses": dict(sorted((answers | REFUSED).items())),
        }
    }


def _answer(description: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {
        "description": description,
        "headers": headers_of(200) | headers,
        "content": {"application/json": {"schema": schema}},
    }


def _state(word: str) -> dict[str, Any]:
    return _answer(word, narrowed("Health", status={"const": word}))


PROBED = {"200": _state("SERVING"), "503": _state("NOT_SERVING")}
OWN_PATHS: dict[str, Any] = {
    "/healthz": _get(
        "isLive",
        "Whether the gateway lives",
        "For load balancers, by any host name.",
        PROBED,
    ),
    "/readyz": _get(
        "isReady",
        "Whether the service is ready",
        "For load balancers, by any host name: whether any worker is healthy.",
        PROBED,
    ),
    "/openapi.json": _get(
        "getDescription",
        "This description",
        "OpenAPI 3.1, as it is for the version that answers.",
        {
            "200": _answer(
                "The description.",
                reference("Description"),
                **{"cache-control": {"schema": {"const": "public, max-age=3600"}}},
            ),
            **_refusals(421, 429),
        },
    ),
}
