"""The floor of any gRPC service in Python: a ready answer to each call, by grpc.aio.

python -m bench.peers.canned PORT
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from bench import dataset
from bench.workloads import SERVICE, WORKLOADS
from peermentor.v1.assignments_pb2 import Assignment, ListAssignmentsResponse
from peermentor.v1.pagination_pb2 import Pagination


def _answers() -> dict[str, Message]:
    items = [_message(row) for row in dataset.rows(20)]
    page = ListAssignmentsResponse(data=items, pagination=Pagination(page=1, limit=20, total=47))
    # As long as those of the service.
    page.next_page_token = "=" * 40
    return {each.rpc: items[0] if each.of_one else page for each in WORKLOADS}


def _message(row: dict[str, Any]) -> Assignment:
    values = {name: value for name, value in row.items() if name != "id" and value is not None}
    for name, value in values.items():
        if hasattr(value, "isoformat"):
            values[name] = value.isoformat()
    message = ParseDict(values, Assignment(assignment_id=dataset.assignment_id(row["id"])))
    if row["last_contact_date"] is not None:
        message.days_since_contact.value = 16
    return message


def _handler(answer: Message, request: type[Message]) -> Any:
    async def respond(_request: Any, _context: Any) -> Message:
        return answer

    behaviour: Callable[[Any, Any], Awaitable[Message]] = respond
    # Read and written anew for each call, as by a service that finds its answer for nothing.
    return grpc.unary_unary_rpc_method_handler(
        behaviour, request.FromString, type(answer).SerializeToString
    )


async def main(port: str) -> None:
    """Serve until the process is ended."""
    answers = _answers()
    handlers = {each.rpc: _handler(answers[each.rpc], each.messages[0]) for each in WORKLOADS}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
