"""Every text that people send through the API is cleaned: no schema of a request has a bare text field."""

import inspect
from collections.abc import Iterator

from marshmallow import Schema, class_registry, fields, missing, validate

from crm.intake.schemas import CleanString

# Names and codes that are looked up, never stored as typed.
CODES = {
    "cursor",
    "if_match",
    "wording",
    "attestation",
    "item",
    "fields_",
    "q",
    "owner",
    "tag",
    "kind",
    "got",
}
CUT = {"FirstTouchSchema"}  # `rules.first_touch` cleans and cuts these labels


def request_schemas() -> Iterator[type[Schema]]:
    """The schemas that views read requests with, and those inside them."""
    for found in class_registry._registry.values():
        for one in found if isinstance(found, list) else [found]:
            if inspect.isclass(one) and one.__module__.startswith("crm.") and _is_read(one):
                yield one


def _is_read(schema: type[Schema]) -> bool:
    """Whether a view reads a request with the schema: it requires a field, or has a default for one."""
    declared = schema._declared_fields.values()
    return any(one.required or one.load_default is not missing for one in declared)


def texts(field: fields.Field) -> Iterator[fields.String]:
    if isinstance(field, fields.List):
        yield from texts(field.inner)
    elif isinstance(field, fields.String):
        yield field


def is_code(name: str, field: fields.String) -> bool:
    """Whether only listed values, or letters of a pattern, are let through."""
    rules = [*field.validators]
    return name in CODES or any(isinstance(one, validate.OneOf | validate.Regexp) for one in rules)


def test_no_request_has_a_bare_text_field(app):
    bare = [
        f"{schema.__name__}.{name}"
        for schema in request_schemas()
        if schema.__name__ not in CUT
        for name, field in schema._declared_fields.items()
        for text in texts(field)
        if not isinstance(text, CleanString) and not is_code(name, text)
    ]
    assert bare == []


def test_the_guard_sees_requests(app):
    names = {schema.__name__ for schema in request_schemas()}
    assert {"ContactRequestSchema", "PatientSchema", "NoteSchema", "NewTaskSchema", "DraftSchema"} <= names
