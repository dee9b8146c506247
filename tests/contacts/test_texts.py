"""Sentences for what is wrong with a value: in both languages, with the same places for values."""

import re

import pytest
from babel.messages.pofile import read_po
from flask_babel import force_locale

from crm.contacts.rules import REASONS, Problem
from crm.contacts.texts import sentence
from tests.web.test_templates import SPANISH

PLACES = re.compile(r"\{[^}]+\}")


def test_every_sentence_is_in_spanish():
    with SPANISH.open("rb") as file:
        spanish = {message.id: message.string for message in read_po(file, locale="es")}
    wrong = [
        text
        for text in REASONS.values()
        if not spanish.get(text) or sorted(PLACES.findall(text)) != sorted(PLACES.findall(spanish[text]))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "We cannot show the character at position 12 (U+0007). Delete it."),
        ("es", "No podemos mostrar el carácter de la posición 12 (U+0007). Bórrelo."),
    ],
)
def test_a_sentence_names_the_character_and_its_place(app, language, words):
    with app.test_request_context(), force_locale(language):
        assert sentence(Problem("text_control", {"place": 12, "character": "U+0007"})) == words
