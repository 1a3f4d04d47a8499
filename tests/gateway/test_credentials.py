"""Credentials over REST: the same gate, with the headers and statuses of HTTP."""

from pathlib import Path

from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from support.apps import running_app
from support.clock import SettableClock
from support.factories import NEW_ASSIGNMENT
from support.gateways import running_gateway
from support.keys import new_key
from support.ports import free_ports


def test_what_callers_get_with_a_key_and_without(
    own: Database, clock: SettableClock, tmp_path: Path
) -> None:
    writer, reader = new_key(own, ["org_03"]), new_key(own, ["org_04"], "read")
    rest_port, admin_port = free_ports(2)
    with running_app(own, clock, access="required") as app:
        settings = Settings(
            grpc_address=Address("127.0.0.1", app.port),
            rest_address=Address("127.0.0.1", rest_port),
            admin_address=Address("127.0.0.1", admin_port),
        )
        with running_gateway(settings, tmp_path) as client:
            paths = "/api/v1/assignments", "/api/v1/assignments/asgn_001"
            for headers in ({}, {"Authorization": f"Bearer {writer}x"}):
                for path in paths:
                    answer = client.get(path, headers=headers)
                    assert answer.status_code == 401, answer.text
                    assert answer.headers["www-authenticate"] == 'Bearer realm="peermentor"'
                    assert answer.json()["code"] == 16
                    reason = "CREDENTIALS_INVALID" if headers else "CREDENTIALS_MISSING"
                    assert answer.json()["details"][0]["reason"] == reason
            # The scheme in any case, as RFC 9110 has it.
            own_key = {"Authorization": f"bearer {writer}"}
            made = client.post(paths[0], json=NEW_ASSIGNMENT, headers=own_key)
            assert made.json()["assignment_id"] == "asgn_001"
            others = {"Authorization": f"Bearer {reader}"}
            assert client.get(paths[1], headers=others).status_code == 404
            assert client.get(paths[0], headers=others).json()["data"] == []
            foreign = client.get(f"{paths[0]}?org_id=org_03", headers=others)
            assert foreign.status_code == 403
            assert foreign.json()["details"][0]["reason"] == "ORGANIZATION_FORBIDDEN"
            refused = client.delete(paths[1], headers=others)
            assert refused.status_code == 403
            assert refused.json()["details"][0]["reason"] == "PERMISSION_MISSING"
            assert client.delete(paths[1], headers=own_key).status_code == 200
