"""Templates: they parse, hold no style, script or color of their own, and are translated for patients and referrers."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from jinja2 import Environment

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
ELSEWHERE = {"email", "sandbox", "content"}
PAGES = sorted(
    path for path in TEMPLATES.rglob("*.html") if path.relative_to(TEMPLATES).parts[0] not in ELSEWHERE
)
SPANISH = ROOT / "crm" / "translations" / "es" / "LC_MESSAGES" / "messages.po"

FORBIDDEN = {
    "a style attribute": r"<[^>]*\sstyle\s*=",
    "a style element": r"<style\b",
    "a script of its own": r"<script\b(?![^>]*\bsrc=)",
    "an event handler": r"<[^>]*\son[a-z]+\s*=\s*[\"']",
    "a color": r"(?<!href=[\"'])(?<!&)#(?:[0-9a-fA-F]{3}){1,2}\b(?=[\"';\s])",
    "another host": r"<(?!a\b)[^>]*\s(?:src|href|action)=[\"'](?:https?:)?//",
    "a javascript: address": r"javascript:",
}


def pages(*folders: str) -> list[Path]:
    return [path for path in PAGES if path.relative_to(TEMPLATES).parts[0] in folders]


def named(path: Path) -> str:
    return str(path.relative_to(TEMPLATES))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_parses(path):
    Environment(extensions=["jinja2.ext.do", "jinja2.ext.i18n"], autoescape=True).parse(path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_carries_no_style_script_or_color(path):
    text = path.read_text()
    found = {what: re.findall(pattern, text) for what, pattern in FORBIDDEN.items()}
    assert {what: hits for what, hits in found.items() if hits} == {}


def test_the_guard_sees_what_it_should():
    bad = '<p style="color: #abc" onclick="x()"><script>1</script><style></style>'
    bad += '<link href="//cdn.example/x" xlink="javascript:1">'
    assert [what for what, pattern in FORBIDDEN.items() if not re.search(pattern, bad)] == []


NAMES = [
    "contact",
    "Contact",
    "person",
    "owner",
    "practice",
    "clinician",
    "user",
    "me",
    "gone",
    "file",
    "one",
]
BARE_NAME = re.compile(rf"\{{\{{ ?\(?(?:\w+\.)*(?:{'|'.join(NAMES)})\.name\b(?![^}}]*\|bdi)[^}}]*\}}\}}")


def bare_names(text: str) -> list[str]:
    """Names printed beside other text without isolation: one read from the right would turn its neighbors around.

    An attribute and the title of a page hold nothing else, and cannot hold an element.
    """
    found = []
    for line in re.sub(r"\{% block (?:title|name) %\}.*?\{% endblock %\}", "", text).splitlines():
        for name in BARE_NAME.finditer(line):
            in_attribute = line[: name.start()].count('"') % 2
            found += [] if in_attribute else [name[0]]
    return found


@pytest.mark.parametrize("path", pages("console", "portal"), ids=named)
def test_names_are_isolated(path):
    assert bare_names(path.read_text()) == []


def test_bare_names_are_found():
    assert bare_names("<p>{{ lead.contact.name or _('No name') }}: 5</p>") != []
    assert bare_names("<p>{{ (lead.contact.name or _('No name'))|bdi }}: 5</p>") == []
    assert bare_names('<a aria-label="{{ person.name }}">') == []


def spoken_to_people() -> set[str]:
    """Every text marked for translation in what patients and referrers see, and in reports."""
    found = set()
    for folder in ("public", "portal", "errors", "macros", "console/reports"):
        options = {"**.html": {"extensions": "jinja2.ext.do", "silent": "false"}}
        for _file, _line, message, _comments, _context in extract_from_dir(
            TEMPLATES / folder, method_map=[("**.html", "jinja2")], options_map=options, keywords={"_": None}
        ):
            found.update([message] if isinstance(message, str) else message)
    found |= {"Error", "Skip to the content", "Clinic"}  # in the frame around every page
    for _file, _line, message, _comments, _context in extract_from_dir(
        ROOT / "crm",
        method_map=[
            ("**/public.py", "python"),
            ("**/portal.py", "python"),
            ("**/forms.py", "python"),
            ("web/errors.py", "python"),
            ("reports/*.py", "python"),
        ],
        keywords={"_": None, "gettext": None, "ngettext": (1, 2), "lazy_gettext": None, "_l": None},
    ):
        found.update([message] if isinstance(message, str) else message)
    return found


def test_public_texts_are_in_spanish():
    with SPANISH.open("rb") as file:
        catalog = read_po(file, locale="es")
    spanish = {
        english: string
        for message in catalog
        if message.id and not message.fuzzy
        for english, string in zip(_forms(message.id), _forms(message.string), strict=True)
    }
    assert sorted(text for text in spoken_to_people() if not spanish.get(text)) == []


def test_spanish_keeps_placeholders():
    with SPANISH.open("rb") as file:
        catalog = read_po(file, locale="es")
    places = re.compile(r"%\(\w+\)[sd]")
    wrong = [
        english
        for message in catalog
        for english, spanish in zip(_forms(message.id), _forms(message.string), strict=True)
        if english and spanish and sorted(places.findall(english)) != sorted(places.findall(spanish))
    ]
    assert wrong == []


def _forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    """The singular and plural of a text with a number; else the text alone."""
    return (text,) if isinstance(text, str) else tuple(text)
