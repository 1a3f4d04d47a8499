// What a program does with the service: it makes an assignment, records a contact, asks who is
// overdue, and reads errors. Run with an address and an organisation:
//
//     node dist/src/example.js 127.0.0.1:50051 org_03

import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import {
  type Assignment,
  AssignmentService,
  type ListOverdueAssignmentsRequestSchema,
} from "./gen/peermentor/v1/assignments_pb.js";

export type Assignments = Client<typeof AssignmentService>;
export type OverdueFilters = MessageInitShape<typeof ListOverdueAssignmentsRequestSchema>;

/** Returns a client whose every call has a deadline, and that gives up frozen connections. */
export function connect(address: string, timeoutMs = 10_000): Assignments {
  const transport = createGrpcTransport({
    baseUrl: `http://${address}`,
    defaultTimeoutMs: timeoutMs,
    pingIntervalMs: 15_000,
    pingTimeoutMs: 5_000,
  });
  return createClient(AssignmentService, transport);
}

/** Yields every overdue assignment, fetched a page at a time. */
export async function* overdue(
  assignments: Assignments,
  filters: OverdueFilters,
): AsyncGenerator<Assignment> {
  let pageToken: string | undefined;
  do {
    const page = await assignments.listOverdueAssignments({ ...filters, pageToken });
    yield* page.data;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

/** What a program branches on, the code and the reason, and what it shows to people. */
export interface Failure {
  code: Code;
  /** An ErrorReason without its prefix; empty when the service named none. */
  reason: string;
  /** Every refused field, with what is wrong with it. */
  violations: { field: string; description: string }[];
  /** Under which the log of the server has the call. */
  requestId: string | null;
}

/** Reads what a call threw. */
export function readFailure(thrown: unknown): Failure {
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const [badRequest] = error.findDetails(BadRequestSchema);
  return {
    code: error.code,
    reason: info?.reason ?? "",
    violations: badRequest?.fieldViolations ?? [],
    requestId: error.metadata.get("x-request-id"),
  };
}

async function main(address: string, orgId: string): Promise<void> {
  const assignments = connect(address);

  // With a request id, the same request may be sent again when no answer came.
  const made = await assignments.createAssignment({
    menteeId: "user_088",
    menteeName: "Bjørn Solberg",
    peerMentorId: "user_042",
    coordinatorId: "user_007",
    orgId,
    requestId: randomUUID(),
  });
  await assignments.updateLastContact({
    assignmentId: made.assignmentId,
    contactDate: timestampFromDate(new Date("2026-03-26T09:45:00Z")),
    contactType: "message",
  });

  for await (const late of overdue(assignments, { orgId })) {
    const last = late.lastContactDate && timestampDate(late.lastContactDate).toISOString();
    console.log(`${late.menteeName}, last contact ${last ?? "never"}`);
  }

  try {
    await assignments.getAssignment({ assignmentId: "asgn_404404" });
  } catch (thrown) {
    const { code, reason } = readFailure(thrown);
    console.log(Code[code], reason);
  }

  try {
    await assignments.createAssignment({ menteeId: "user_088", orgId });
  } catch (thrown) {
    const { code, reason, violations } = readFailure(thrown);
    console.log(Code[code], reason);
    for (const { field, description } of violations) {
      console.log(`  ${field}: ${description}`);
    }
  }
}

const [, program = "", address = "127.0.0.1:50051", orgId = "org_03"] = process.argv;
if (import.meta.url === pathToFileURL(program).href) {
  await main(address, orgId);
}
