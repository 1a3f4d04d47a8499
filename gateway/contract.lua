-- Generated from protos/ by protos/gateway_contract.py (make generate). Do not edit.

return {
  -- The methods of each path, the most specific path first.
  routes = {
    {path = "/api/v1/assignments", methods = "GET, POST"},
    {path = "/api/v1/assignments/overdue", methods = "GET"},
    {path = "/api/v1/assignments/summary", methods = "GET"},
    {path = "/api/v1/assignments/{assignment_id}", methods = "GET, PUT, DELETE"},
    {path = "/api/v1/assignments/{assignment_id}/contacts", methods = "GET"},
    {path = "/api/v1/assignments/{assignment_id}/last-contact", methods = "PUT"},
    {path = "/api/v1/recurring-templates", methods = "GET, POST"},
    {
      path = "/api/v1/recurring-templates/by-coordinator/{coordinator_id}",
      methods = "GET",
    },
    {
      path = "/api/v1/recurring-templates/by-organization/{organization_id}",
      methods = "GET",
    },
    {path = "/api/v1/recurring-templates/{id}", methods = "GET, PUT, DELETE"},
    {path = "/api/v1/recurring-templates/{id}/calendar.ics", methods = "GET"},
    {path = "/api/v1/recurring-templates/{id}/occurrences", methods = "GET"},
  },
  -- What a call answers, and its body's fields by kind.
  calls = {
    ["GET /api/v1/assignments"] = {answer = "peermentor.v1.ListAssignmentsResponse"},
    ["POST /api/v1/assignments"] = {
      answer = "peermentor.v1.Assignment",
      body = {
        mentee_id = "scalar",
        peer_mentor_id = "scalar",
        coordinator_id = "scalar",
        org_id = "scalar",
        start_date = "scalar",
        mentee_name = "scalar",
        request_id = "scalar",
      },
    },
    ["GET /api/v1/assignments/overdue"] = {answer = "peermentor.v1.ListAssignmentsResponse"},
    ["GET /api/v1/assignments/summary"] = {answer = "peermentor.v1.AssignmentSummary"},
    ["GET /api/v1/assignments/{assignment_id}"] = {answer = "peermentor.v1.Assignment"},
    ["PUT /api/v1/assignments/{assignment_id}"] = {
      answer = "peermentor.v1.Assignment",
      body = {
        assignment_id = "scalar",
        status = "scalar",
        peer_mentor_id = "scalar",
        coordinator_id = "scalar",
        org_id = "scalar",
        start_date = "scalar",
        mentee_name = "scalar",
        reminder_sent_at = "instant",
        escalation_sent_at = "instant",
        update_mask = "scalar",
        etag = "scalar",
      },
    },
    ["DELETE /api/v1/assignments/{assignment_id}"] = {answer = "peermentor.v1.DeleteAssignmentResponse"},
    ["GET /api/v1/assignments/{assignment_id}/contacts"] = {answer = "peermentor.v1.ListContactsResponse"},
    ["PUT /api/v1/assignments/{assignment_id}/last-contact"] = {
      answer = "peermentor.v1.Assignment",
      body = {
        assignment_id = "scalar",
        contact_date = "instant",
        contact_type = "scalar",
        only_if_later = "boolean",
        etag = "scalar",
      },
    },
    ["GET /api/v1/recurring-templates"] = {answer = "peermentor.v1.ListTemplatesResponse"},
    ["POST /api/v1/recurring-templates"] = {
      answer = "peermentor.v1.RecurringTemplate",
      body = {
        coordinator_id = "scalar",
        organization_id = "scalar",
        name = "scalar",
        activity_type = "scalar",
        recurrence_rule = "scalar",
        duration_minutes = "scalar",
        mentor_ids = "list of texts",
        notes_template = "scalar",
        is_active = "boolean",
        request_id = "scalar",
        starts_on = "scalar",
        time_zone = "scalar",
        excluded_dates = "list of texts",
      },
    },
    ["GET /api/v1/recurring-templates/by-coordinator/{coordinator_id}"] = {answer = "peermentor.v1.ListTemplatesResponse"},
    ["GET /api/v1/recurring-templates/by-organization/{organization_id}"] = {answer = "peermentor.v1.ListTemplatesResponse"},
    ["GET /api/v1/recurring-templates/{id}"] = {answer = "peermentor.v1.RecurringTemplate"},
    ["PUT /api/v1/recurring-templates/{id}"] = {
      answer = "peermentor.v1.RecurringTemplate",
      body = {
        id = "scalar",
        coordinator_id = "scalar",
        organization_id = "scalar",
        name = "scalar",
        activity_type = "scalar",
        recurrence_rule = "scalar",
        duration_minutes = "scalar",
        mentor_ids = "list of texts",
        notes_template = "scalar",
        is_active = "boolean",
        update_mask = "scalar",
        starts_on = "scalar",
        time_zone = "scalar",
        excluded_dates = "list of texts",
        etag = "scalar",
      },
    },
    ["DELETE /api/v1/recurring-templates/{id}"] = {answer = "peermentor.v1.DeleteTemplateResponse"},
    ["GET /api/v1/recurring-templates/{id}/calendar.ics"] = {answer = "google.api.HttpBody"},
    ["GET /api/v1/recurring-templates/{id}/occurrences"] = {answer = "peermentor.v1.ListOccurrencesResponse"},
  },
  -- The values of each enum in requests.
  enums = {["peermentor.v1.Assignment.Status"] = "active, paused, completed, cancelled"},
  -- What answers print as null, and before which key.
  nulls = {
    ["peermentor.v1.Assignment"] = {
      before = "status",
      fields = {
        "last_contact_date",
        "days_since_contact",
        "reminder_sent_at",
        "escalation_sent_at",
      },
    },
    ["peermentor.v1.AssignmentSummary"] = {before = "recent_contacts", fields = {"longest_silence_days"}},
    ["peermentor.v1.ListAssignmentsResponse"] = {
      before = "status",
      fields = {
        "last_contact_date",
        "days_since_contact",
        "reminder_sent_at",
        "escalation_sent_at",
      },
    },
  },
  -- Answers that have an etag.
  tagged = {
    ["google.api.HttpBody"] = "etag",
    ["peermentor.v1.Assignment"] = "etag",
    ["peermentor.v1.RecurringTemplate"] = "etag",
  },
  -- All calls, and whether they may be made again.
  repeatable = {
    ["/peermentor.v1.AssignmentService/ListAssignments"] = "always",
    ["/peermentor.v1.AssignmentService/GetAssignment"] = "always",
    ["/peermentor.v1.AssignmentService/CreateAssignment"] = "with key",
    ["/peermentor.v1.AssignmentService/UpdateAssignment"] = "always",
    ["/peermentor.v1.AssignmentService/DeleteAssignment"] = "never",
    ["/peermentor.v1.AssignmentService/UpdateLastContact"] = "always",
    ["/peermentor.v1.AssignmentService/ListOverdueAssignments"] = "always",
    ["/peermentor.v1.AssignmentService/GetAssignmentSummary"] = "always",
    ["/peermentor.v1.AssignmentService/ListContacts"] = "always",
    ["/peermentor.v1.TemplateService/ListTemplates"] = "always",
    ["/peermentor.v1.TemplateService/GetTemplate"] = "always",
    ["/peermentor.v1.TemplateService/CreateTemplate"] = "with key",
    ["/peermentor.v1.TemplateService/UpdateTemplate"] = "always",
    ["/peermentor.v1.TemplateService/DeleteTemplate"] = "never",
    ["/peermentor.v1.TemplateService/ListTemplatesByCoordinator"] = "always",
    ["/peermentor.v1.TemplateService/ListTemplatesByOrganization"] = "always",
    ["/peermentor.v1.TemplateService/ListOccurrences"] = "always",
    ["/peermentor.v1.TemplateService/GetTemplateCalendar"] = "always",
  },
  -- How gRPC calls are refused, by x-refusal.
  refusals = {
    ["bad-timeout"] = {
      ["grpc-status"] = "3",
      ["grpc-message"] = "grpc-timeout: must be at most 8 digits and one of H, M, S, m, u, n",
      ["grpc-status-details-bin"] = "CAMSQmdycGMtdGltZW91dDogbXVzdCBiZSBhdCBtb3N0IDggZGlnaXRzIGFuZCBvbmUgb2YgSCwgTSwgUywgbSwgdSwgbhpLCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEh8KEU1BTEZPUk1FRF9SRVFVRVNUEgpwZWVybWVudG9y",
    },
    ["no-message"] = {
      ["grpc-status"] = "3",
      ["grpc-message"] = "the request must be one whole message",
      ["grpc-status-details-bin"] = "CAMSJXRoZSByZXF1ZXN0IG11c3QgYmUgb25lIHdob2xlIG1lc3NhZ2UaSwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIfChFNQUxGT1JNRURfUkVRVUVTVBIKcGVlcm1lbnRvcg",
    },
    ["bad-encoding"] = {
      ["grpc-status"] = "12",
      ["grpc-message"] = "grpc-encoding: must be identity, deflate or gzip",
      ["grpc-accept-encoding"] = "identity, deflate, gzip",
    },
    ["too-slow"] = {
      ["grpc-status"] = "4",
      ["grpc-message"] = "the request took too long to arrive",
    },
    ["too-large"] = {
      ["grpc-status"] = "8",
      ["grpc-message"] = "the message is larger than 1 MiB",
    },
    ["too-many"] = {
      ["grpc-status"] = "8",
      ["grpc-message"] = "too many calls at once; try again later",
      ["grpc-status-details-bin"] = "CAgSJ3RvbyBtYW55IGNhbGxzIGF0IG9uY2U7IHRyeSBhZ2FpbiBsYXRlchpECih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEhgKCk9WRVJMT0FERUQSCnBlZXJtZW50b3IaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAQ",
    },
  },
}
