"""What schemathesis has to be told of this API; schemathesis.toml names this file."""

import os
import re
from typing import Any

import schemathesis

# Why data may be refused that is as the schemas say. A schema could not say more: what it could,
# the description is to say.
UNSAYABLE = re.compile(
    "|".join(
        (
            # Of two fields.
            "page: must not be given along with page_token",
            "until_date: must not be before from_date",
            "request_id: must be the same wherever it is given",
            # A body may have nothing but unknown fields, and nulls, which count as left out.
            "update_mask: nothing to change",
            # Of what the service knows.
            "page_token: is not the next_page_token of a list",
            "contact_date: must not be more than 5 minutes in the future",
            "time_zone: must be the IANA name of a time zone",
            "recurrence_rule: ",
            # With `Prefer: handling=strict`, and where it is refused without too.
            ".*: there is no such field",
            "a field has no name",
            # A format is a note in JSON Schema: where null is taken, '' is tried too.
            r"\w+: must be a (date|time) such as",
            # A header is a text: one that is to be of a wrong type is taken for a right one.
            "if-match: must be an etag",
        )
    ),
    re.DOTALL,
)


@schemathesis.hook
def before_load_schema(_context: Any, schema: dict[str, Any]) -> None:
    """Let nobody in without a key, where the service does not either."""
    if os.environ["ACCESS"] == "required":
        schema["security"].remove({})


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Leave out what is as it should be."""
    match failure.code:
        case "ST202" if response.status_code == 400:
            return not all(_is_unsayable(each, case.body) for each in _problems(response.json()))
        case "ST401":
            # The service bears only so many calls without a key.
            return "got `429 " not in failure.message
    return True


def _problems(error: dict[str, Any]) -> list[str]:
    violations = [
        f"{each['field']}: {each['description']}"
        for detail in error["details"]
        for each in detail.get("field_violations", [])
    ]
    return violations or [error["message"]]


def _is_unsayable(problem: str, body: Any) -> bool:
    # A field that the mask names and the body has not is cleared, which not every field can be.
    mask = str(body.get("update_mask")).split(",") if isinstance(body, dict) else []
    return bool(UNSAYABLE.match(problem)) or problem.partition(":")[0] in mask
