"""Fuzzing of the API: no server error, and no response outside its own description."""

from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.desk.test_console_work import new_lead
from tests.web.test_api import make_key

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
EACH = 12  # requests per operation; all of it takes some ten seconds


@pytest.fixture
def described(client, database, redis, clock):
    """The API as it describes itself, with a key to all of it and a lead in it; nobody counts the requests."""
    kept = database.settings
    database.settings = replace(kept, api_per_minute=10**9)
    key = make_key()
    new_lead()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", database)
    try:
        yield schema, key
    finally:
        database.settings = kept


def test_every_operation_matches_its_description(described):
    schema, key = described
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EACH, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @_given(operation)
        def keep_word(case):
            case.call_and_validate(headers=key, checks=CHECKS)

        keep_word()
        tried += 1
    assert tried >= 10


def _given(operation):
    from hypothesis import given

    return given(case=operation.as_strategy())
