// Package roundtrip has what a client generated from docs/openapi.json sends to the real service,
// and reads of it.
package roundtrip

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"peermentor.test/roundtrip/client"
)

func connect(t *testing.T) (*client.APIClient, context.Context) {
	rest, key := os.Getenv("REST"), os.Getenv("KEY")
	if rest == "" || key == "" {
		t.Fatal("REST and KEY must name the service and a key, as with_service.py does")
	}
	configuration := client.NewConfiguration()
	configuration.Servers = client.ServerConfigurations{{URL: rest}}
	ctx := context.WithValue(context.Background(), client.ContextAccessToken, key)
	return client.NewAPIClient(configuration), ctx
}

func TestAnAssignmentIsMadeReadContactedListedAndChanged(t *testing.T) {
	api, ctx := connect(t)
	assignments := api.AssignmentsAPI
	org := "org_" + strings.ReplaceAll(time.Now().Format("150405.000000000"), ".", "_")
	people := client.NewCreateAssignmentRequest("user_088", "user_042", "user_007", org)
	people.SetStartDate("2026-03-26")
	made, answer, err := assignments.CreateAssignment(ctx).CreateAssignmentRequest(*people).
		IdempotencyKey(org).Execute()
	must(t, err)
	again, _, err := assignments.CreateAssignment(ctx).CreateAssignmentRequest(*people).
		IdempotencyKey(org).Execute()
	must(t, err)
	equal(t, again.AssignmentId, made.AssignmentId)
	equal(t, made.Status, client.ACTIVE)
	equal(t, made.LastContactDate.IsSet() && made.LastContactDate.Get() == nil, true)
	equal(t, answer.Header.Get("x-request-id") != "", true)
	id := made.AssignmentId

	day := time.Date(2026, 3, 26, 9, 45, 0, 0, time.UTC)
	contact := client.NewUpdateLastContactRequest(day)
	contact.SetContactType("at home & 1+1")
	contacted, _, err := assignments.UpdateLastContact(ctx, id).
		UpdateLastContactRequest(*contact).Execute()
	must(t, err)
	equal(t, contacted.LastContactDate.Get().Equal(day), true)
	contacts, _, err := assignments.ListContacts(ctx, id).ContactType("at home & 1+1").Execute()
	must(t, err)
	equal(t, len(contacts.Data), 1)

	overdue, _, err := assignments.ListOverdueAssignments(ctx).OrgId(org).
		CutoffDate("2026-03-27T00:00:00+01:00").Execute()
	must(t, err)
	equal(t, len(overdue.Data), 1)
	equal(t, overdue.Data[0].Etag, contacted.Etag)
	equal(t, overdue.Pagination.Total, int32(1))

	pause := client.NewUpdateAssignmentRequest()
	pause.SetStatus(client.PAUSED)
	_, answer, err = assignments.UpdateAssignment(ctx, id).UpdateAssignmentRequest(*pause).
		IfMatch(made.Etag).Execute()
	refused(t, answer, err, http.StatusPreconditionFailed, "ETAG_MISMATCH")
	paused, _, err := assignments.UpdateAssignment(ctx, id).UpdateAssignmentRequest(*pause).
		IfMatch(contacted.Etag).Execute()
	must(t, err)
	equal(t, paused.Status, client.PAUSED)
	deleted, _, err := assignments.DeleteAssignment(ctx, id).Execute()
	must(t, err)
	equal(t, *deleted, client.DeleteAssignmentResponse{Deleted: true, AssignmentId: id})
}

func TestAnErrorIsReadWithItsReasonAndItsFields(t *testing.T) {
	api, ctx := connect(t)
	_, answer, err := api.AssignmentsAPI.GetAssignment(ctx, "asgn_000").Execute()
	refused(t, answer, err, http.StatusNotFound, "ASSIGNMENT_NOT_FOUND")
	wrong := client.NewCreateAssignmentRequest("user_088", "user_042", "user_007", "")
	_, answer, err = api.AssignmentsAPI.CreateAssignment(ctx).CreateAssignmentRequest(*wrong).Execute()
	failure := refused(t, answer, err, http.StatusBadRequest, "INVALID_FIELD")
	violations := failure.Details[1].BadRequest.FieldViolations
	equal(t, len(violations), 1)
	equal(t, violations[0].Field, "org_id")
}

// refused returns the error of a call, which has to have this status and this reason.
func refused(
	t *testing.T, answer *http.Response, err error, status int, reason string,
) client.ErrorResponse {
	t.Helper()
	var thrown *client.GenericOpenAPIError
	if !errors.As(err, &thrown) {
		t.Fatalf("it was not refused: %v", err)
	}
	failure, read := thrown.Model().(client.ErrorResponse)
	if !read {
		t.Fatalf("not an ErrorResponse: %v: %s", err, thrown.Body())
	}
	equal(t, answer.StatusCode, status)
	equal(t, failure.Details[0].ErrorInfo.Reason, reason)
	return failure
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, found, wanted T) {
	t.Helper()
	if found != wanted {
		t.Fatalf("%v, and not %v", found, wanted)
	}
}
