"""The name of a mentee: kept once, for all of the mentee's assignments."""

import grpc
import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.assignments import delete, get, listed, update
from support.factories import contents, new_assignment


def test_a_name_given_with_a_new_assignment_counts_for_all_of_the_mentees(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments)
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")
    second = new_assignment(assignments, mentee_name="Bjørn Solberg")

    assert second.mentee_name == "Bjørn Solberg"
    assert get(assignments, first.assignment_id).mentee_name == "Bjørn Solberg"
    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"


def test_a_name_given_with_an_update_counts_for_all_of_the_mentees(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments, mentee_name="Bjorn")
    second = new_assignment(assignments)
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")

    changed = update(assignments, first.assignment_id, mentee_name="Bjørn Solberg")

    assert changed.mentee_name == "Bjørn Solberg"
    assert get(assignments, second.assignment_id).mentee_name == "Bjørn Solberg"
    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"


def test_a_name_already_known_is_that_of_later_assignments(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments, mentee_name="Bjørn Solberg")

    assert new_assignment(assignments, coordinator_id="x").mentee_name == "Bjørn Solberg"


def test_an_organisation_knows_nothing_of_the_names_of_another(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    other = new_assignment(assignments, org_id="another")
    assert other.mentee_name == ""
    assert update(assignments, other.assignment_id, mentee_name="B.").mentee_name == "B."
    delete(assignments, other.assignment_id)
    assert get(assignments, first.assignment_id).mentee_name == "Bjørn Solberg"


def test_a_name_goes_along_to_another_organisation_and_stays_for_those_who_stay(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    moved = new_assignment(assignments, mentee_name="Bjørn Solberg")
    stays = new_assignment(assignments)
    assert update(assignments, moved.assignment_id, org_id="another").mentee_name == "Bjørn Solberg"
    assert get(assignments, stays.assignment_id).mentee_name == "Bjørn Solberg"

    # Where a name is known already, that is the one.
    update(assignments, moved.assignment_id, mentee_name="B.")
    assert update(assignments, stays.assignment_id, org_id="another").mentee_name == "B."
    assert contents(database)["mentees"] == [("user_088", "another", "B.", 2)]


def test_a_name_goes_along_to_where_the_mentee_has_none(
    assignments: AssignmentServiceStub,
) -> None:
    moved = new_assignment(assignments, mentee_name="Bjørn Solberg")
    nameless = new_assignment(assignments, org_id="another")
    assert update(assignments, moved.assignment_id, org_id="another").mentee_name == "Bjørn Solberg"
    assert get(assignments, nameless.assignment_id).mentee_name == "Bjørn Solberg"


def test_ids_of_mentees_are_case_sensitive(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, mentee_id="user_a", mentee_name="Lars Eriksson")

    assert new_assignment(assignments, mentee_id="USER_A").mentee_name == ""
    assert listed(assignments, mentee_id="user_a") == ["asgn_001"]
    assert listed(assignments, mentee_id="USER_A") == ["asgn_002"]


def test_an_empty_name_clears_it_in_an_update_and_not_in_a_new_assignment(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    assert update(assignments, first.assignment_id, mentee_name="").mentee_name == ""

    update(assignments, first.assignment_id, mentee_name="Bjørn Solberg")
    with pytest.raises(grpc.RpcError, match="leave it out to keep the stored name"):
        new_assignment(assignments, mentee_name="")
    assert get(assignments, first.assignment_id).mentee_name == "Bjørn Solberg"


def test_the_name_goes_with_the_mentees_last_assignment_and_not_before(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    second = new_assignment(assignments, status=Assignment.completed)

    delete(assignments, first.assignment_id)
    assert get(assignments, second.assignment_id).mentee_name == "Bjørn Solberg"

    delete(assignments, second.assignment_id)
    assert contents(database)["mentees"] == []
    assert new_assignment(assignments).mentee_name == ""


def test_the_names_of_other_mentees_stay_when_one_goes(assignments: AssignmentServiceStub) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")

    delete(assignments, first.assignment_id)

    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"
