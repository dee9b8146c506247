"""Forms arrive cleaned, whatever page reads them; what must stay as it was typed does."""

import pytest
from flask import request
from werkzeug.datastructures import MultiDict


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_every_form_field_is_cleaned(app, kind):
    typed = MultiDict(
        [
            ("name", "\u200bO´Brien\u00a0"),
            ("tag", "a\u00adb"),
            ("tag", "c\u202e"),
            ("note", "one\r\n\u000btwo"),
        ]
    )
    with app.test_request_context("/", method="POST", data=typed, content_type=kind):
        assert request.form.to_dict(flat=False) == {
            "name": ["O’Brien"],
            "tag": ["ab", "c"],
            "note": ["one\n\ntwo"],
        }
        assert request.form["note"] == "one\n\ntwo"  # read twice, cleaned once


@pytest.mark.parametrize("name", ["password", "new_password", "current", "credential", "body", "sentence"])
def test_passwords_and_hashed_texts_stay_as_typed(app, name):
    with app.test_request_context("/", method="POST", data={name: " a\u00a0b\r\n "}):
        assert request.form[name] == " a\u00a0b\r\n "
