// The example against the real service: straight to the server, and through the gateway.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Code } from "@connectrpc/connect";

import { type Assignments, connect, overdue, readFailure } from "../src/example.js";
import { startService } from "./service.js";

const EXAMPLE = fileURLToPath(new URL("../src/example.js", import.meta.url));
const { SERVER } = process.env;
assert(SERVER, "SERVER must name the program peermentor-server, as make test-typescript does");

const service = await startService(SERVER);
after(() => service.stop());

for (const [way, address] of [
  ["to the server", service.grpcAddress],
  ["through the gateway", service.restAddress],
] as const) {
  test(`the example runs ${way}`, async () => {
    const orgId = newOrgId();
    const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, address, orgId], {
      timeout: 30_000,
    });
    assert.deepEqual(stdout.trimEnd().split("\n"), [
      "Bjørn Solberg, last contact 2026-03-26T09:45:00.000Z",
      "NotFound ASSIGNMENT_NOT_FOUND",
      "InvalidArgument INVALID_FIELD",
      "  peer_mentor_id: is required and must not be blank",
      "  coordinator_id: is required and must not be blank",
    ]);
  });

  test(`every page of the overdue is listed ${way}`, async () => {
    const assignments = connect(address);
    const orgId = newOrgId();
    const made: string[] = [];
    for (let count = 0; count < 5; count++) {
      made.push(await create(assignments, orgId, randomUUID()));
    }
    const listed: string[] = [];
    for await (const late of overdue(assignments, { orgId, limit: 2 })) {
      listed.push(late.assignmentId);
    }
    assert.deepEqual(listed, made);
  });

  test(`a create that is repeated makes nothing more ${way}`, async () => {
    const assignments = connect(address);
    const [orgId, requestId] = [newOrgId(), randomUUID()];
    const first = await create(assignments, orgId, requestId);
    assert.equal(await create(assignments, orgId, requestId), first);
    await assert.rejects(create(assignments, newOrgId(), requestId), (thrown) => {
      const { code, reason, requestId: logged } = readFailure(thrown);
      assert.deepEqual([code, reason], [Code.AlreadyExists, "REQUEST_ID_REUSED"]);
      assert.match(logged ?? "", /^\S+$/);
      return true;
    });
  });
}

test("a call that nobody answers ends at its deadline", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  await new Promise<void>((listening) => silent.listen(0, "127.0.0.1", listening));
  try {
    const { port } = silent.address() as AddressInfo;
    await assert.rejects(connect(`127.0.0.1:${port}`, 200).listAssignments({}), (thrown) => {
      assert.equal(readFailure(thrown).code, Code.DeadlineExceeded);
      return true;
    });
  } finally {
    sockets.forEach((socket) => socket.destroy());
    silent.close();
  }
});

function newOrgId(): string {
  return `org_${randomUUID()}`;
}

async function create(
  assignments: Assignments,
  orgId: string,
  requestId: string,
): Promise<string> {
  const { assignmentId } = await assignments.createAssignment({
    menteeId: "user_088",
    peerMentorId: "user_042",
    coordinatorId: "user_007",
    orgId,
    requestId,
  });
  return assignmentId;
}
