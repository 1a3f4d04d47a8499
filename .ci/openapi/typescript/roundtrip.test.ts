// What a client generated from docs/openapi.json sends to the real service, and reads of it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import {
  AssignmentStatus,
  AssignmentsApi,
  Configuration,
  type ErrorResponse,
  ErrorResponseFromJSON,
  ResponseError,
  TemplatesApi,
} from "./client/index.js";

const { REST, KEY } = process.env;
assert(REST && KEY, "REST and KEY must name the service and a key, as with_service.py does");
const configuration = new Configuration({ basePath: REST, accessToken: KEY });
const assignments = new AssignmentsApi(configuration);
const templates = new TemplatesApi(configuration);

const orgId = `org_${randomUUID()}`;
const people = { menteeId: "user_088", peerMentorId: "user_042", coordinatorId: "user_007", orgId };

test("an assignment is made, read, contacted, listed and changed", async () => {
  const idempotencyKey = randomUUID();
  const startDate = new Date("2026-03-26");
  const create = { idempotencyKey, createAssignmentRequest: { ...people, startDate } };
  const made = await assignments.createAssignment(create);
  assert.deepEqual(await assignments.createAssignment(create), made);
  assert.equal(made.status, AssignmentStatus.Active);
  assert.equal(made.lastContactDate, null);
  assert.deepEqual(made.startDate, startDate);
  const { assignmentId, etag } = made;
  assert.deepEqual(await assignments.getAssignment({ assignmentId }), made);

  const contactDate = new Date("2026-03-26T09:45:00Z");
  const contacted = await assignments.updateLastContact({
    assignmentId,
    updateLastContactRequest: { contactDate, contactType: "at home & 1+1" },
  });
  assert.deepEqual(contacted.lastContactDate, contactDate);
  const contacts = await assignments.listContacts({ assignmentId, contactType: "at home & 1+1" });
  assert.deepEqual(contacts.data.map((each) => each.contactDate), [contactDate]);

  const cutoffDate = "2026-03-27T00:00:00+01:00";
  const overdue = await assignments.listOverdueAssignments({ orgId, cutoffDate });
  assert.deepEqual(overdue.data, [contacted]);
  assert.deepEqual(overdue.pagination, { page: 1, limit: 20, total: 1 });

  const pause = { status: AssignmentStatus.Paused, reminderSentAt: null };
  const late = assignments.updateAssignment({
    assignmentId,
    ifMatch: etag,
    updateAssignmentRequest: pause,
  });
  const [status, error] = await refusal(late);
  assert.deepEqual([status, error.code, reason(error)], [412, 10, "ETAG_MISMATCH"]);
  const paused = await assignments.updateAssignment({
    assignmentId,
    ifMatch: contacted.etag,
    updateAssignmentRequest: pause,
  });
  assert.equal(paused.status, AssignmentStatus.Paused);
  assert.deepEqual(await assignments.deleteAssignment({ assignmentId }), {
    deleted: true,
    assignmentId,
  });
});

test("an error is read with its reason and its fields", async () => {
  const [notFound, missing] = await refusal(assignments.getAssignment({ assignmentId: "asgn_000" }));
  assert.deepEqual([notFound, missing.code, reason(missing)], [404, 5, "ASSIGNMENT_NOT_FOUND"]);
  const wrong = { ...people, orgId: "", startDate: new Date("2026-03-26") };
  const [refused, error] = await refusal(
    assignments.createAssignment({ createAssignmentRequest: wrong }),
  );
  assert.deepEqual([refused, reason(error)], [400, "INVALID_FIELD"]);
  const fields = error.details.flatMap((each) =>
    each.atType === "type.googleapis.com/google.rpc.BadRequest" ? each.fieldViolations : [],
  );
  assert.deepEqual(fields.map((each) => each.field), ["org_id"]);
});

test("a template is made, found by its type and listed by its days", async () => {
  const activityType = `a walk, ${randomUUID()}`;
  const { id } = await templates.createTemplate({
    createTemplateRequest: {
      coordinatorId: "coord-119",
      organizationId: "org-44",
      name: "Walk",
      activityType,
      recurrenceRule: "FREQ=WEEKLY;BYDAY=WE;BYHOUR=17",
      durationMinutes: 60,
      startsOn: new Date("2026-10-14"),
      timeZone: "Europe/Oslo",
      excludedDates: new Set(["2026-10-21"]),
    },
  });
  const found = await templates.listTemplates({ activityType, isActive: true });
  assert.deepEqual(found.data.map((each) => each.id), [id]);
  const { data } = await templates.listOccurrences({
    id,
    fromDate: new Date("2026-10-01"),
    untilDate: new Date("2026-11-01"),
  });
  const days = data.map((each) => each.startsAt.toISOString());
  assert.deepEqual(days, ["2026-10-14T15:00:00.000Z", "2026-10-28T16:00:00.000Z"]);
  await templates.deleteTemplate({ id });
});

/** Returns the status of a call that is refused, and its error. */
async function refusal(call: Promise<unknown>): Promise<[number, ErrorResponse]> {
  const thrown = await call.then(
    () => assert.fail("it was not refused"),
    (error: unknown) => error,
  );
  assert(thrown instanceof ResponseError, String(thrown));
  return [thrown.response.status, ErrorResponseFromJSON(await thrown.response.json())];
}

function reason(error: ErrorResponse): string | undefined {
  const [info] = error.details;
  return info?.atType === "type.googleapis.com/google.rpc.ErrorInfo" ? info.reason : undefined;
}
