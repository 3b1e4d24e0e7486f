"""What an error of obstore is taken for, by its text."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError

from job.errors import DeniedError, StoreError, UnreachableError
from job.store.faults import Place, from_obstore

PLACE = Place(what="output", bucket="models", endpoint="https://s3.example")
OF_MANY = (
    "Generic S3 error: DeleteObjects request failed for key out/forgotten/a.json: {said}. (code: {code})\n\n"
    'Debug source:\nGeneric {{\n    store: "S3",\n    source: DeleteFailed {{ code: "{code}" }},\n}}'
)
"""what obstore 0.12 raises where S3 has answered a request to delete several objects"""


@pytest.mark.parametrize(
    ("said", "code", "kind", "told"),
    [
        ("Access Denied", "AccessDenied", DeniedError, "refused to delete 'out/forgotten/a.json'"),
        ("We encountered an internal error", "InternalError", UnreachableError, "no usable answer"),
        ("Please reduce your request rate", "SlowDown", UnreachableError, "no usable answer"),
    ],
)
def test_an_object_of_many_that_is_not_deleted_is_told_by_its_name_and_code(
    said: str, code: str, kind: type[StoreError], told: str
) -> None:
    error = from_obstore(GenericError(OF_MANY.format(said=said, code=code)), PLACE, "delete", "out/models/first")

    assert type(error) is kind
    assert told in str(error)
