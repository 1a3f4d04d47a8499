"""Any RPC over REST by its name: its route stands in the protos."""

import re
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from google.api import annotations_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from support.factories import RefusedCall, told
from support.rpcs import GOOD, SERVICES

METHODS = {method.name: method for service in SERVICES for method in service.methods}
STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
}
CODES = {status: code for code, status in STATUSES.items()}


class GoodRoutes:
    """Calls the routes of RPCs as `GoodRequests` calls RPCs; metadata goes as headers."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def call(self, rpc: str, *, metadata: Any = (), **fields: Any) -> Any:
        """Return the answer, as the message that it stands for."""
        answer = self._send(rpc, metadata, fields)
        assert answer.status_code == 200, answer.text
        if METHODS[rpc].output_type is HttpBody.DESCRIPTOR:
            return HttpBody(content_type=answer.headers["content-type"], data=answer.content)
        return ParseDict(answer.json(), GetMessageClass(METHODS[rpc].output_type)())

    def refuse(self, rpc: str, *, metadata: Any = (), **fields: Any) -> RefusedCall:
        """Return how the call was refused."""
        answer = self._send(rpc, metadata, fields)
        refusal = told(CODES[answer.status_code], ParseDict(answer.json(), Status()))
        assert answer.json()["code"] == refusal.code.value[0]
        challenge = ['Bearer realm="peermentor"'] if answer.status_code == 401 else []
        assert answer.headers.get_list("www-authenticate") == challenge
        return refusal

    def _send(self, rpc: str, headers: Any, fields: dict[str, Any]) -> httpx.Response:
        method = METHODS[rpc]
        request: Message = GetMessageClass(method.input_type)(**GOOD[rpc] | fields)
        values = MessageToDict(request, preserving_proto_field_name=True)
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        verb = rule.WhichOneof("pattern")
        path = re.sub(
            r"{(\w+)}", lambda name: quote(values.pop(name[1]), safe=""), getattr(rule, verb)
        )
        content: dict[str, Any] = {"json": values} if rule.body else {"params": values}
        return self._client.request(verb, path, headers=list(headers), **content)
