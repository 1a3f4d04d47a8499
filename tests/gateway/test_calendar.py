"""A template as a calendar file over REST: the file itself is the answer."""

import httpx

from peermentor.v1.templates_pb2 import GetTemplateCalendarRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from support.factories import NEW_TEMPLATE

T = "/api/v1/recurring-templates"
FILE = f"{T}/rt-001/calendar.ics"


def test_the_answer_is_the_file(rest: httpx.Client, templates: TemplateServiceStub) -> None:
    rest.post(T, json=NEW_TEMPLATE | {"name": 'Åse\'s group, "Monday"; a\\b', "activity_type": "x"})

    answer, call = templates.GetTemplateCalendar.with_call(GetTemplateCalendarRequest(id="rt-001"))
    got = rest.get(FILE)

    assert got.content == answer.data
    assert 'SUMMARY:Åse\'s group\\, "Monday"\\; a\\\\b' in got.text
    headers = {name: str(value) for name, value in call.initial_metadata()}
    assert {name: got.headers[name] for name in ("etag", "content-disposition")} == {
        "etag": headers["etag"],
        "content-disposition": 'attachment; filename="rt-001.ics"',
    }
    assert got.headers["content-type"] == answer.content_type == "text/calendar; charset=utf-8"
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["cache-control"] == "no-store"
    assert not [name for name in got.headers if name.startswith("grpc-")]


def test_what_is_refused_is_refused_in_json(rest: httpx.Client) -> None:
    for path, status, code in (
        (FILE, 404, 5),
        (f"{T}/nonsense/calendar.ics", 404, 5),
        (f"{FILE}?limit=1", 400, 3),
        (f"{T}/rt-001/calendar", 404, 5),
    ):
        answer = rest.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/json"
        assert "content-disposition" not in answer.headers
    assert rest.post(FILE).status_code == 405
